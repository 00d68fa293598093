/** The environment for npm: as scripts/test.mjs found it, for a registry whose certificates Node does not know by itself. */
const certificates = process.env["BERTHD_TEST_CA_CERTS"];
export const npmEnv: NodeJS.ProcessEnv = {
  ...process.env,
  ...(certificates !== undefined && { NODE_EXTRA_CA_CERTS: certificates }),
};
