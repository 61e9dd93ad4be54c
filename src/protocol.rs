//! The revisions of MCP, and what each of them allows.
//!
//! This is the one place that knows. A layer asks the [`Era`] of a request and never compares
//! versions, because a revision that nobody here has heard of must not switch on what an older one
//! had.
//!
//! ```
//! use shadowcat::protocol::{Era, ProtocolVersion, is_modern_version};
//!
//! let version = ProtocolVersion::parse("2025-11-25").expect("a known revision");
//! let era = Era::from(version);
//! assert!(era.has_sessions() && era.has_event_ids());
//! assert!(!era.drop_cancels());
//!
//! let era = Era::from(ProtocolVersion::V2026_07_28);
//! assert_eq!(era, Era::Stateless);
//! assert!(era.drop_cancels() && !era.has_sessions());
//!
//! assert!(is_modern_version("2027-01-01") && !is_modern_version("newest"));
//! ```

use std::fmt;

use http::Extensions;

use crate::message::Message;

/// A known revision of MCP.
///
/// The revisions are in the order of their dates.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum ProtocolVersion {
    /// HTTP with a separate channel of server-sent events.
    V2024_11_05,
    /// The first with Streamable HTTP, and the only one with batches.
    V2025_03_26,
    /// Requires the version header.
    V2025_06_18,
    /// The last with sessions; lets a server close a stream early and be polled.
    V2025_11_25,
    /// Stateless.
    V2026_07_28,
}

/// How a request is to be treated: in a session, or on its own.
///
/// Each request has its own era, whatever connection it came on (ERA-1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Era {
    /// The revisions with a handshake, up to 2025-11-25, and which of them.
    Session(ProtocolVersion),
    /// 2026-07-28 and later: each request stands alone.
    Stateless,
}

use ProtocolVersion::{V2024_11_05, V2025_03_26, V2025_06_18, V2025_11_25, V2026_07_28};

impl ProtocolVersion {
    /// All known revisions, oldest first.
    pub const ALL: &[Self] = &[
        V2024_11_05,
        V2025_03_26,
        V2025_06_18,
        V2025_11_25,
        V2026_07_28,
    ];

    /// What a request with a session follows if nothing says which revision it is (ERA-5).
    pub const ASSUMED: Self = V2025_03_26;

    /// The revision of that date; `None` for any other text.
    #[must_use]
    #[inline]
    pub fn parse(text: impl AsRef<[u8]>) -> Option<Self> {
        Some(match text.as_ref() {
            b"2024-11-05" => V2024_11_05,
            b"2025-03-26" => V2025_03_26,
            b"2025-06-18" => V2025_06_18,
            b"2025-11-25" => V2025_11_25,
            b"2026-07-28" => V2026_07_28,
            _ => return None,
        })
    }

    /// The date, which is what goes over the wire.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            V2024_11_05 => "2024-11-05",
            V2025_03_26 => "2025-03-26",
            V2025_06_18 => "2025-06-18",
            V2025_11_25 => "2025-11-25",
            V2026_07_28 => "2026-07-28",
        }
    }
}

impl fmt::Display for ProtocolVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl From<ProtocolVersion> for Era {
    fn from(version: ProtocolVersion) -> Self {
        match version {
            V2024_11_05 | V2025_03_26 | V2025_06_18 | V2025_11_25 => Self::Session(version),
            V2026_07_28 => Self::Stateless,
        }
    }
}

// Each lists the revisions that have the feature, and none says "from … on": what a later revision
// keeps is for that revision to say (AMB-4).
impl Era {
    /// The era of the request with those extensions, if somebody has told it: by a fact of its own,
    /// which counts more, or with the [`Message`].
    #[must_use]
    pub fn of(extensions: &Extensions) -> Option<Self> {
        Self::told(extensions, extensions.get())
    }

    /// The same, for who has looked the message up.
    #[inline]
    pub(crate) fn told(extensions: &Extensions, message: Option<&Message>) -> Option<Self> {
        let told = extensions.get::<Self>().copied();
        told.or_else(|| message?.era())
    }

    /// Whether `initialize` opens a connection.
    #[must_use]
    pub const fn has_handshake(self) -> bool {
        matches!(
            self,
            Self::Session(V2024_11_05 | V2025_03_26 | V2025_06_18 | V2025_11_25)
        )
    }

    /// Whether `Mcp-Session-Id` and DELETE mean something. If not, the header has to be ignored
    /// (AMB-2).
    #[must_use]
    pub const fn has_sessions(self) -> bool {
        matches!(self, Self::Session(V2025_03_26 | V2025_06_18 | V2025_11_25))
    }

    /// Whether events may have ids and `Last-Event-ID` resumes a stream (SSE-1, SSE-15).
    #[must_use]
    pub const fn has_event_ids(self) -> bool {
        matches!(self, Self::Session(V2025_03_26 | V2025_06_18 | V2025_11_25))
    }

    /// Whether a stream may begin with an event that has an id and no data (SSE-3). Clients of
    /// any other revision fail on it.
    #[must_use]
    pub const fn allows_priming(self) -> bool {
        matches!(self, Self::Session(V2025_11_25))
    }

    /// Whether a stream may be closed before its response, for the client to poll (SSE-4, SSE-5).
    #[must_use]
    pub const fn allows_early_close(self) -> bool {
        matches!(self, Self::Session(V2025_11_25))
    }

    /// Whether a dropped response stream cancels its request (CAN-1, CAN-3).
    #[must_use]
    pub const fn drop_cancels(self) -> bool {
        matches!(self, Self::Stateless)
    }

    /// Whether a body may be an array of messages (JRP-6, JRP-7). The oldest revision does not
    /// mention them, and takes what JSON-RPC has.
    #[must_use]
    pub const fn allows_batches(self) -> bool {
        matches!(self, Self::Session(V2024_11_05 | V2025_03_26))
    }

    /// Whether GET opens a stream.
    #[must_use]
    pub const fn has_get_stream(self) -> bool {
        matches!(
            self,
            Self::Session(V2024_11_05 | V2025_03_26 | V2025_06_18 | V2025_11_25)
        )
    }

    /// Whether the first event of a GET stream is `endpoint`, and the stream has to pass as it is
    /// (TRN-7).
    #[must_use]
    pub const fn has_endpoint_event(self) -> bool {
        matches!(self, Self::Session(V2024_11_05))
    }

    /// Whether servers send requests, and clients POST the responses to them (JRP-8, JRP-9).
    #[must_use]
    pub const fn client_posts_responses(self) -> bool {
        matches!(
            self,
            Self::Session(V2024_11_05 | V2025_03_26 | V2025_06_18 | V2025_11_25)
        )
    }

    /// Whether every request but the handshake has to carry `MCP-Protocol-Version` (VER-1, VER-4).
    #[must_use]
    pub const fn requires_version_header(self) -> bool {
        matches!(
            self,
            Self::Stateless | Self::Session(V2025_06_18 | V2025_11_25)
        )
    }

    /// Whether headers repeat the method and the name in the body (HDR-1).
    #[must_use]
    pub const fn has_mirrored_headers(self) -> bool {
        matches!(self, Self::Stateless)
    }
}

/// Whether clients of any revision send `method` as a request: it wants an answer, and must not be
/// run as a notification.
pub(crate) fn is_client_request(method: &[u8]) -> bool {
    matches!(
        method,
        b"initialize"
            | b"ping"
            | b"server/discover"
            | b"subscriptions/listen"
            | b"tools/list"
            | b"tools/call"
            | b"resources/list"
            | b"resources/templates/list"
            | b"resources/read"
            | b"resources/subscribe"
            | b"resources/unsubscribe"
            | b"prompts/list"
            | b"prompts/get"
            | b"completion/complete"
            | b"logging/setLevel"
            | b"tasks/get"
            | b"tasks/result"
            | b"tasks/list"
            | b"tasks/update"
            | b"tasks/cancel"
    )
}

/// Whether clients of any revision send `method` as a notification.
pub(crate) fn is_client_notification(method: &[u8]) -> bool {
    matches!(
        method,
        b"notifications/initialized"
            | b"notifications/cancelled"
            | b"notifications/progress"
            | b"notifications/roots/list_changed"
            | b"notifications/tasks/status"
    )
}

/// Whether a version in the header is of the stateless era: a date, known or not, from 2026-07-28
/// on.
#[must_use]
#[inline]
pub fn is_modern_version(text: impl AsRef<[u8]>) -> bool {
    let text = text.as_ref();
    // Dates of one shape compare like the days they name.
    is_date(text) && text >= V2026_07_28.as_str().as_bytes()
}

/// Whether a version that the message itself claims is of the stateless era: like
/// [`is_modern_version`], or no date at all, since older revisions know no such claim (AMB-4).
#[must_use]
#[inline]
pub fn is_modern_claim(text: impl AsRef<[u8]>) -> bool {
    let text = text.as_ref();
    !is_date(text) || is_modern_version(text)
}

/// `YYYY-MM-DD` by shape alone.
#[inline]
fn is_date(text: &[u8]) -> bool {
    let &[y1, y2, y3, y4, b'-', m1, m2, b'-', d1, d2] = text else {
        return false;
    };
    [y1, y2, y3, y4, m1, m2, d1, d2]
        .iter()
        .all(u8::is_ascii_digit)
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: Era = Era::Session(V2024_11_05);
    const B: Era = Era::Session(V2025_03_26);
    const C: Era = Era::Session(V2025_06_18);
    const D: Era = Era::Session(V2025_11_25);
    const E: Era = Era::Stateless;

    #[test]
    fn versions_round_trip_and_are_ordered_by_date() {
        for version in ProtocolVersion::ALL {
            assert_eq!(ProtocolVersion::parse(version.as_str()), Some(*version));
            assert_eq!(
                ProtocolVersion::parse(version.as_str().as_bytes()),
                Some(*version)
            );
            assert_eq!(version.to_string(), version.as_str());
        }
        assert!(ProtocolVersion::ALL.is_sorted());
        let dates = ProtocolVersion::ALL.iter().map(|version| version.as_str());
        assert!(dates.is_sorted());
    }

    #[test]
    fn other_texts_are_no_version() {
        for text in [
            "",
            "2025-11-26",
            "2025-11-25 ",
            "draft",
            "2025-11-25,2026-07-28",
        ] {
            assert_eq!(ProtocolVersion::parse(text), None, "{text}");
        }
    }

    #[test]
    fn each_revision_has_the_features_of_table_1_1() {
        type Feature = fn(Era) -> bool;
        let table: [(&str, Feature, &[Era]); 12] = [
            ("handshake", Era::has_handshake, &[A, B, C, D]),
            ("sessions", Era::has_sessions, &[B, C, D]),
            ("event ids", Era::has_event_ids, &[B, C, D]),
            ("priming", Era::allows_priming, &[D]),
            ("early close", Era::allows_early_close, &[D]),
            ("drop cancels", Era::drop_cancels, &[E]),
            ("batches", Era::allows_batches, &[A, B]),
            ("GET stream", Era::has_get_stream, &[A, B, C, D]),
            ("endpoint event", Era::has_endpoint_event, &[A]),
            ("responses", Era::client_posts_responses, &[A, B, C, D]),
            ("version header", Era::requires_version_header, &[C, D, E]),
            ("mirrored headers", Era::has_mirrored_headers, &[E]),
        ];
        for (name, feature, eras) in table {
            for era in ProtocolVersion::ALL.iter().copied().map(Era::from) {
                assert_eq!(feature(era), eras.contains(&era), "{name} in {era:?}");
            }
        }
    }

    #[test]
    fn unknown_dates_sort_by_date_and_other_texts_are_modern_only_as_a_claim() {
        for (text, header, claim) in [
            ("2026-07-28", true, true),
            ("2026-07-29", true, true),
            ("9999-99-99", true, true),
            ("2026-07-27", false, false),
            ("2025-11-25", false, false),
            ("0000-00-00", false, false),
            ("v999.0.0", false, true),
            ("2026-7-28", false, true),
            ("2026-07-28 ", false, true),
            ("2026/07/28", false, true),
            ("", false, true),
        ] {
            assert_eq!(is_modern_version(text), header, "header {text:?}");
            assert_eq!(is_modern_claim(text), claim, "claim {text:?}");
        }
    }
}
