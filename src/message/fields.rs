use http::{HeaderMap, HeaderValue};

use super::Fault;
use crate::header::{LAST_EVENT_ID, MCP_METHOD, MCP_NAME, MCP_PROTOCOL_VERSION, MCP_SESSION_ID};

/// What a message is compared with of its header fields.
///
/// Found in one pass: to look one name up costs as much as to look at a dozen.
#[derive(Default)]
pub(super) struct Fields<'a> {
    pub(super) version: Option<&'a HeaderValue>,
    pub(super) is_version_repeated: bool,
    pub(super) method: Option<&'a HeaderValue>,
    pub(super) name: Option<&'a HeaderValue>,
    /// Another field of MCP that came more than once (AMB-31): two hops may read two values.
    pub(super) repeated: Option<Fault>,
}

/// The names of fields, as faults tell them.
pub(super) const METHOD: &str = "mcp-method";
pub(super) const NAME: &str = "mcp-name";

impl<'a> Fields<'a> {
    #[inline]
    pub(super) fn of(headers: &'a HeaderMap) -> Self {
        let mut fields = Self::default();
        for (name, value) in headers {
            if *name == MCP_PROTOCOL_VERSION {
                fields.is_version_repeated |= fields.version.replace(value).is_some();
            } else if *name == MCP_METHOD {
                fields.method = Some(value);
            } else if *name == MCP_NAME {
                fields.name = Some(value);
            }
        }
        // Nearly always no name came more than once.
        if headers.len() > headers.keys_len() {
            fields.repeated = repeated(headers);
        }
        fields
    }
}

#[cold]
fn repeated(headers: &HeaderMap) -> Option<Fault> {
    let name = headers.keys().find(|name| {
        let is_read = name.as_str().starts_with("mcp-") || **name == LAST_EVENT_ID;
        // The version has a fault of its own.
        is_read && **name != MCP_PROTOCOL_VERSION && headers.get_all(*name).iter().nth(1).is_some()
    })?;
    Some(Fault::DuplicateHeader(match name {
        name if *name == MCP_METHOD => METHOD,
        name if *name == MCP_NAME => NAME,
        name if *name == MCP_SESSION_ID => "mcp-session-id",
        name if *name == LAST_EVENT_ID => "last-event-id",
        _ => "mcp-*",
    }))
}
