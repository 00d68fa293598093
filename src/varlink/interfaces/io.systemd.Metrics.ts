/**
 * The text of io.systemd.Metrics: systemd's own interface for measurements, with its names and types
 * (src/shared/varlink-io.systemd.Metrics.c of systemd). So its tools read ours.
 */
export const metricsInterface: string = `# Measurements of this broker and of the berths that the caller may see: systemd's interface for them.
# Nothing is measured unless somebody asks. The families are described in docs/metrics.md.
interface io.systemd.Metrics

# counter: a number that only grows. gauge: a number that goes up and down. string: a text.
type MetricFamilyType (
  counter,
  gauge,
  string
)

# One reply for each value, in any order. Values of one family differ by object and fields.
# [Requires 'more' flag]
method List() -> (
  # The family it belongs to: io.berthd.Broker.Leases.
  name: string,
  # A number or a string, as the family's type says.
  value: any,
  # The berth it is about. Absent if it is about the broker.
  object: ?string,
  # What tells it from other values of the family: names and texts.
  fields: ?object
)

# One reply for each family.
# [Requires 'more' flag]
method Describe() -> (
  name: string,
  description: string,
  type: MetricFamilyType
)

# There is nothing to list: the caller may see no berth.
error NoSuchMetric ()
`;
