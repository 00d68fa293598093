/** npm's environment, as scripts/test.mjs found it: Node may not know the certificates of the registry by itself. */
const certificates = process.env["BERTHD_TEST_CA_CERTS"];
export const npmEnv: NodeJS.ProcessEnv = {
  ...process.env,
  ...(certificates !== undefined && { NODE_EXTRA_CA_CERTS: certificates }),
};
