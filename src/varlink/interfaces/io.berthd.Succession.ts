/** The text of io.berthd.Succession: what a broker and the one that takes over from it say to each other. */
export const successionInterface: string = `# How one berthd broker takes over from another: all that it holds goes to the newcomer, as file
# descriptors, and nobody is refused meanwhile. It is for brokers alone: only root and the broker's
# own user may call it, anybody else gets org.varlink.service.PermissionDenied.
interface io.berthd.Succession

# Hands over everything. From this call on the broker accepts, hears and answers nobody else, until
# Confirm ends it. If the connection closes before, or half a minute goes by, it goes on as if
# nothing had been asked. Call it with 'more': the replies carry up to 200 descriptors each.
method TakeOver() -> (
  # What each descriptor of this very message is, in their order.
  names: []string
)

# The caller has everything: the broker closes what it has, removes nothing, answers, and ends. Only
# on the connection that TakeOver was called on.
method Confirm() -> ()

# This broker hands nothing over, or not now.
error Unavailable (
  # Why, for people, and what to do.
  message: ?string
)
`;
