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

    /// The message's key that `text` begins with, up to and including its closing quote.
    #[inline(always)]
    pub(super) fn in_message(text: &[u8]) -> Option<(Self, usize)> {
        find(
            text,
            &[
                (b"jsonrpc\"", Self::JsonRpc),
                (b"id\"", Self::Id),
                (b"method\"", Self::Method),
                (b"params\"", Self::Params),
                (b"result\"", Self::Result),
                (b"error\"", Self::Error),
            ],
        )
    }

    /// The key of `params` that `text` begins with.
    #[inline(always)]
    pub(super) fn in_params(text: &[u8]) -> Option<(Self, usize)> {
        find(
            text,
            &[
                (b"name\"", Self::Name),
                (b"_meta\"", Self::Meta),
                (b"uri\"", Self::Uri),
                (b"taskId\"", Self::TaskId),
                (b"protocolVersion\"", Self::ProtocolVersion),
            ],
        )
    }

    /// The key of `params._meta` that `text` begins with.
    #[inline(always)]
    pub(super) fn in_meta(text: &[u8]) -> Option<(Self, usize)> {
        const PREFIX: &[u8] = b"io.modelcontextprotocol/";

        // Two comparisons of a few words, where the whole keys would be calls.
        let Some(name) = text.strip_prefix(PREFIX) else {
            return find(text, &[(b"progressToken\"", Self::ProgressToken)]);
        };
        let (field, len) = find(
            name,
            &[
                (b"protocolVersion\"", Self::Claim),
                (b"clientCapabilities\"", Self::Capabilities),
            ],
        )?;
        Some((field, PREFIX.len() + len))
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
            Self::Capabilities => "params._meta.io.modelcontextprotocol/clientCapabilities",
            Self::ProgressToken => "params._meta.progressToken",
        }
    }
}

#[inline(always)]
fn find<const N: usize>(text: &[u8], keys: &[(&[u8], Field); N]) -> Option<(Field, usize)> {
    let (key, field) = keys.iter().find(|(key, _)| text.starts_with(key))?;
    Some((*field, key.len()))
}
