/** The text of org.varlink.service, which every Varlink service answers to (https://varlink.org/Service). */
export const serviceInterface: string = `# The interface that every Varlink service has: what it is, and which interfaces it implements.
interface org.varlink.service

# What the service is, and the interfaces it implements.
method GetInfo() -> (
  # Who makes the service.
  vendor: string,
  # Its name.
  product: string,
  # Its version.
  version: string,
  # Where to read about it.
  url: string,
  # Names of the interfaces it implements, this one included.
  interfaces: []string
)

# The description of one of the interfaces, in the language that this text is written in.
method GetInterfaceDescription(
  # Name of the interface.
  interface: string
) -> (
  # Its description.
  description: string
)

# The service does not implement the interface.
error InterfaceNotFound (
  # Name of the interface that was asked for.
  interface: string
)

# The interface has no such method.
error MethodNotFound (
  # Name of the method that was called.
  method: string
)

# The interface has the method, but this service does not implement it.
error MethodNotImplemented (
  # Name of the method that was called.
  method: string
)

# A parameter is missing, unknown, or not of its type or range.
error InvalidParameter (
  # Which one; parts of a compound parameter are parted by dots.
  parameter: string
)

# The caller may not do this, or not with this object; it may not even learn whether the object exists.
error PermissionDenied ()

# The method answers with more than one reply: it must be called with the 'more' flag.
error ExpectedMore ()
`;
