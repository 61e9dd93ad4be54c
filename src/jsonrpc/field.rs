/// The keys that somebody decides something by.
///
/// These are the ones whose repetition would let two hops see two messages (JRP-10).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Field {
    JsonRpc,
    Method,
    Id,
    Name,
    Uri,
    TaskId,
    ProtocolVersion,
    Claim,
    Capabilities,
    ProgressToken,
    // Of these it only matters whether they are there.
    Params,
    Result,
    Error,
    Meta,
}

impl Field {
    /// How many there are whose value is read.
    pub(super) const READ: usize = Self::ProgressToken as usize + 1;

    /// The keys of a message.
    pub(super) const IN_MESSAGE: &[Self] = &[
        Self::JsonRpc,
        Self::Method,
        Self::Id,
        Self::Params,
        Self::Result,
        Self::Error,
    ];

    /// The keys of `params`.
    pub(super) const DIRECTLY_IN_PARAMS: &[Self] = &[
        Self::Name,
        Self::Uri,
        Self::TaskId,
        Self::Meta,
        Self::ProtocolVersion,
    ];

    /// Everything that lies in `params`, to be forgotten when another `params` follows.
    pub(super) const IN_PARAMS: &[Self] = &[
        Self::Name,
        Self::Uri,
        Self::TaskId,
        Self::Meta,
        Self::ProtocolVersion,
        Self::Claim,
        Self::Capabilities,
        Self::ProgressToken,
    ];

    /// Everything that lies in `params._meta`.
    pub(super) const IN_META: &[Self] = &[Self::Claim, Self::Capabilities, Self::ProgressToken];

    #[inline]
    pub(super) const fn bit(self) -> u16 {
        1 << self as u8
    }

    /// The key, with the keys of the objects that it lies in.
    pub(super) const fn path(self) -> &'static str {
        match self {
            Self::JsonRpc => "jsonrpc",
            Self::Method => "method",
            Self::Id => "id",
            Self::Params => "params",
            Self::Result => "result",
            Self::Error => "error",
            Self::Name => "params.name",
            Self::Uri => "params.uri",
            Self::TaskId => "params.taskId",
            Self::Meta => "params._meta",
            Self::ProtocolVersion => "params.protocolVersion",
            Self::Claim => "params._meta.io.modelcontextprotocol/protocolVersion",
            Self::Capabilities => "params._meta.io.modelcontextprotocol/clientCapabilities",
            Self::ProgressToken => "params._meta.progressToken",
        }
    }
}
