/** The rooms of folders of src/, by the folder, from the bottom up. Those of one floor do not import each other. */
export const floors: Readonly<Record<string, readonly (readonly string[])[]>> = {
  broker: [
    ["access", "counts", "guard", "record"],
    ["plans"],
    ["sockets"],
    ["berths"],
    ["bind", "demand", "notify"],
    ["drain"],
    ["session"],
    ["agent", "metrics"],
    ["restart"],
    ["."], // broker.ts and what starts it
  ],
  "broker/access": [["limits"], ["."]], // what a user may use; who a peer is, and what it may do
  "broker/berths": [["berth"], ["repairs", "reports"], ["."]], // one berth; its repairs and reports; all of them
  "broker/bind": [["server"], ["."]], // the server that binds, and what it gets
  "broker/demand": [["doorman"], ["."]], // the processes that answer, and who has them watch
  "broker/sockets": [["holders", "interfaces"], ["."], ["control"]],
  doorman: [["interfaces"], ["senders"], ["sockets"], ["."]], // messages and codecs; senders; sockets; the process
  config: [["toml"], ["keys"], ["."]],
  rootfs: [["disk"], ["ranges"], ["images", "mount"], ["roots"]],
  varlink: [["interfaces"], ["."]],
};
