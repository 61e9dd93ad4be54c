/// The keys that somebody decides something by, in the order in which they are numbered.
///
/// These are the ones whose repetition would let two hops see two messages (JRP-10).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Field {
    JsonRpc,
    Method,
    Id,
    Params,
    Result,
    Error,
    Name,
    Uri,
    TaskId,
    Meta,
    ProtocolVersion,
    Claim,
    ProgressToken,
}

impl Field {
    pub(super) const COUNT: usize = 13;

    /// Everything that lies in `params`, to be forgotten when another `params` follows.
    pub(super) const IN_PARAMS: &[Self] = &[
        Self::Name,
        Self::Uri,
        Self::TaskId,
        Self::Meta,
        Self::ProtocolVersion,
        Self::Claim,
        Self::ProgressToken,
    ];

    /// Everything that lies in `params._meta`.
    pub(super) const IN_META: &[Self] = &[Self::Claim, Self::ProgressToken];

    #[inline]
    pub(super) fn of_message(key: &[u8]) -> Option<Self> {
        Some(match key {
            b"jsonrpc" => Self::JsonRpc,
            b"method" => Self::Method,
            b"id" => Self::Id,
            b"params" => Self::Params,
            b"result" => Self::Result,
            b"error" => Self::Error,
            _ => return None,
        })
    }

    #[inline]
    pub(super) fn of_params(key: &[u8]) -> Option<Self> {
        Some(match key {
            b"name" => Self::Name,
            b"uri" => Self::Uri,
            b"taskId" => Self::TaskId,
            b"_meta" => Self::Meta,
            b"protocolVersion" => Self::ProtocolVersion,
            _ => return None,
        })
    }

    #[inline]
    pub(super) fn of_meta(key: &[u8]) -> Option<Self> {
        Some(match key {
            b"io.modelcontextprotocol/protocolVersion" => Self::Claim,
            b"progressToken" => Self::ProgressToken,
            _ => return None,
        })
    }

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
            Self::ProgressToken => "params._meta.progressToken",
        }
    }
}
