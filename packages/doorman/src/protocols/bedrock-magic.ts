/** RakNet's offline message id. */
export const MAGIC: Buffer = Buffer.from("00ffff00fefefefefdfdfdfd12345678", "hex");
