/** Files that esbuild copies beside the page: the address of the copy. */
declare module "*.svg" {
  const address: string;
  export default address;
}
declare module "*.css";
