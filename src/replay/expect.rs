use bytes::Bytes;

use crate::jsonrpc::{self, Kind, Peek, RequestId};

/// What a stream is about: stored with it, because whoever reads it may not be who wrote it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct About {
    /// A GET opened it: nobody waits for an answer, and there is no end to wait for.
    pub(super) is_get: bool,
    /// Its client speaks MCP.
    pub(super) is_mcp: bool,
}

/// The longest text of request ids that is stored with a stream.
const MAX_IDS: usize = 1024;

impl About {
    /// Whether a client waits for responses, so that a hole may hold one.
    pub(super) const fn awaits_response(self) -> bool {
        !self.is_get && self.is_mcp
    }

    /// The flags, and the ids of the requests that wait for a response, one per line: in JSON text
    /// no line ends.
    pub(super) fn encode(self, expect: &Expect) -> Bytes {
        let flags = b'0' + u8::from(self.is_get) + 2 * u8::from(self.is_mcp);
        let len: usize = expect.ids().map(|id| id.as_raw().len() + 1).sum();
        let mut text = Vec::with_capacity(1 + len);
        text.push(flags);
        if len <= MAX_IDS {
            for id in expect.ids() {
                text.extend_from_slice(id.as_raw().as_bytes());
                text.push(b'\n');
            }
        }
        Bytes::from(text)
    }

    /// What [`encode`](Self::encode) wrote. Anything else is a stream without requests.
    pub(super) fn decode(text: &[u8]) -> (Self, Expect) {
        let (flags, ids) = text.split_first().unwrap_or((&b'0', &[]));
        let flags = flags.wrapping_sub(b'0');
        let about = Self {
            is_get: flags & 1 != 0,
            is_mcp: flags & 2 != 0,
        };
        let ids = std::str::from_utf8(ids).unwrap_or_default();
        let ids = ids.lines().filter_map(|id| RequestId::from_raw(id).ok());
        (about, Expect::new(ids))
    }
}

/// The requests whose responses a stream has to bring.
#[derive(Debug, Default)]
pub(super) struct Expect {
    // Nearly all streams answer one request, and then nothing is allocated for the list.
    first: Option<RequestId>,
    others: Box<[Option<RequestId>]>,
}

impl Expect {
    pub(super) fn new(ids: impl IntoIterator<Item = RequestId>) -> Self {
        let mut ids = ids.into_iter();
        Self {
            first: ids.next(),
            others: ids.map(Some).collect(),
        }
    }

    /// The requests in a message.
    pub(super) fn of(peek: &Peek<'_>) -> Self {
        let requests = peek.envelopes().filter(|one| one.kind() == Kind::Request);
        Self::new(requests.filter_map(|one| one.id()))
    }

    /// Whether a response is still to come.
    #[inline]
    pub(super) fn is_open(&self) -> bool {
        self.first.is_some() || self.others.iter().any(Option::is_some)
    }

    pub(super) fn ids(&self) -> impl Iterator<Item = &RequestId> {
        self.first.iter().chain(self.others.iter().flatten())
    }

    /// Takes note of the data of an event; true if it brought the last response.
    #[inline]
    pub(super) fn note(&mut self, data: &[u8]) -> bool {
        // Nearly all events are notifications, which say so in their first few bytes.
        jsonrpc::may_be_response(data) && self.note_response(data)
    }

    #[cold]
    fn note_response(&mut self, data: &[u8]) -> bool {
        let mut found = false;
        for id in jsonrpc::response_ids(data) {
            if self.first.as_ref() == Some(&id) {
                self.first = None;
                found = true;
            } else if let Some(other) = self
                .others
                .iter_mut()
                .find(|other| other.as_ref() == Some(&id))
            {
                *other = None;
                found = true;
            }
        }
        found && !self.is_open()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn expect(body: &str) -> Expect {
        Expect::of(&jsonrpc::peek(body.as_bytes()).expect("JSON"))
    }

    const CALL: &str = r#"{"jsonrpc":"2.0","id":7,"method":"tools/call"}"#;
    const BATCH: &str = r#"[{"jsonrpc":"2.0","id":1,"method":"a"},
        {"jsonrpc":"2.0","method":"notifications/x"},
        {"jsonrpc":"2.0","id":"1","method":"b"},{"jsonrpc":"2.0","id":2,"method":"c"}]"#;

    #[test]
    fn only_the_response_to_the_request_is_final() {
        for (data, is_final) in [
            (r#"{"jsonrpc":"2.0","id":7,"result":{}}"#, true),
            (
                r#"{"jsonrpc":"2.0","id":7,"error":{"code":1,"message":""}}"#,
                true,
            ),
            (r#"{"result":{"method":"x"},"id":7,"jsonrpc":"2.0"}"#, true),
            (r#"{"jsonrpc":"2.0","id":7,"re\u0073ult":{}}"#, true),
            (r#"[{"jsonrpc":"2.0","id":7,"result":{}}]"#, true),
            (" [ {\"id\" : 7 , \"result\" : [1,{\"id\":8}] } ]", true),
            // What a client's parser may forgive, or read deeper than ours.
            (r#"{"jsonrpc":"2.0","id":7,"result":{},"error":null}"#, true),
            (r#"{"jsonrpc":"2.0","id":7,"result":{"x":NaN}}"#, true),
            (r#"{"jsonrpc":"2.0","id":7.0,"result":{}}"#, true),
            (r#"{"jsonrpc":"2.0","id":7,"result":"\"}"}"#, true),
            (r#"{"jsonrpc":"2.0","id":7,"error":null}"#, false),
            (r#"{"jsonrpc":"2.0","id":7.5,"result":{}}"#, false),
            (r#"{"jsonrpc":"2.0","params":{"id":7,"result":{}}}"#, false),
            (
                r#"{"jsonrpc":"2.0","id":8,"result":{"id":7,"result":{}}}"#,
                false,
            ),
            (r#"[[{"jsonrpc":"2.0","id":7,"result":{}}]]"#, false),
            // A request of the server, with an id of its own counting.
            (r#"{"jsonrpc":"2.0","id":7,"method":"ping"}"#, false),
            (
                r#"{"jsonrpc":"2.0","method":"notifications/progress"}"#,
                false,
            ),
            (r#"{"jsonrpc":"2.0","id":"7","result":{}}"#, false),
            (r#"{"jsonrpc":"2.0","id":8,"result":{}}"#, false),
            (
                r#"{"jsonrpc":"2.0","id":7,"result":{},"method":"x"}"#,
                false,
            ),
            (r#"{"jsonrpc":"2.0","id":7,"result":{}"#, false),
            (
                r#"{"jsonrpc":"2.0","error":{"code":1,"message":""}}"#,
                false,
            ),
            ("", false),
            ("7", false),
            ("[]", false),
        ] {
            let mut expect = expect(CALL);
            assert_eq!(expect.note(data.as_bytes()), is_final, "{data}");
            assert_eq!(expect.is_open(), !is_final, "{data}");
        }
    }

    #[test]
    fn a_result_is_an_answer_however_deep_it_is() {
        let deep = format!(
            r#"{{"jsonrpc":"2.0","id":7,"result":{}{}}}"#,
            "[".repeat(10_000),
            "]".repeat(10_000)
        );
        assert!(expect(CALL).note(deep.as_bytes()));
        let broken = [deep.as_bytes(), b"\xFF"].concat();
        assert!(expect(CALL).note(&broken));
    }

    #[test]
    fn a_batch_is_answered_when_all_of_it_is_in_any_order_and_grouping() {
        let mut one_by_one = expect(BATCH);
        assert!(!one_by_one.note(br#"{"jsonrpc":"2.0","id":"1","result":{}}"#));
        assert!(!one_by_one.note(br#"{"jsonrpc":"2.0","id":"1","result":{}}"#));
        assert!(!one_by_one.note(br#"{"jsonrpc":"2.0","id":2,"result":{}}"#));
        assert!(one_by_one.note(br#"{"jsonrpc":"2.0","id":1,"result":{}}"#));

        let mut grouped = expect(BATCH);
        assert!(!grouped.note(br#"[{"id":1,"result":{}},{"id":2,"result":{}}]"#));
        assert!(grouped.note(br#"[{"method":"x"},{"id":"1","error":{}}]"#));
    }

    #[test]
    fn messages_without_requests_wait_for_nothing() {
        for body in [
            r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#,
            r#"{"jsonrpc":"2.0","id":1,"result":{}}"#,
            "{}",
            "[]",
        ] {
            assert!(!expect(body).is_open(), "{body}");
        }
    }

    #[test]
    fn what_is_stored_is_read_back() {
        for is_get in [false, true] {
            for is_mcp in [false, true] {
                let about = About { is_get, is_mcp };
                let (read, ids) = About::decode(&about.encode(&expect(BATCH)));
                assert_eq!(read, about);
                let ids: Vec<_> = ids.ids().map(ToString::to_string).collect();
                assert_eq!(ids, ["1", "\"1\"", "2"]);
            }
        }
        let (_, none) = About::decode(b"");
        assert!(!none.is_open());
    }
}
