use super::{envelope::Kind, field::Field, members::Members, shape::Spans};

/// What clients may take a message for, whatever it is by the letter (JRP-1).
///
/// Many look for the one member that matters to them, and for no other: to them it is a response although
/// it also has `"error":null` or a method.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Guise {
    /// For what it is by the letter. It is no response.
    Itself,
    Response,
    /// For a request or a notification: its result and its error are null.
    Call(Kind),
    /// For either, by what they look for first.
    Either(Kind),
    /// For several messages: a member is there twice or in letters of another case, or its id is none.
    Unclear,
}

impl Spans {
    /// Whether a client may take it for something else than its kind.
    #[inline]
    pub(crate) const fn may_be_in_guise(&self) -> bool {
        matches!(self.kind(), Kind::Invalid) || self.is_ambiguous()
    }

    /// What clients may take it for.
    #[cold]
    pub(crate) fn guise(&self, body: &[u8]) -> Guise {
        let whole = self.whole(body);
        let members = Members::of(whole);
        if !members.may_answer() {
            return Guise::Itself;
        }
        // An array in a batch is no message, but may hold one.
        if members.is_unclear() || !whole.starts_with(b"{") {
            return Guise::Unclear;
        }
        let method = self.field(Field::Method, body);
        let has_id = self.field(Field::Id, body).is_some();
        let call = match method.is_some_and(|method| method.starts_with(b"\"")) {
            false => None,
            true if has_id => Some(Kind::Request),
            true => Some(Kind::Notification),
        };
        match call {
            _ if !has_id && !members.has_no_id() => Guise::Unclear,
            Some(kind) if members.means_answer() => Guise::Either(kind),
            Some(kind) => Guise::Call(kind),
            None => Guise::Response,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{super::Shape, *};

    #[test]
    fn jrp_1_guises_are_what_clients_look_for() {
        use Guise::{Call, Either, Itself, Response, Unclear};
        for (text, expected) in [
            (r#"{"id":7,"result":{},"error":null}"#, Response),
            (r#"{"id":7,"method":null,"result":{}}"#, Response),
            (r#"{"id":7,"result":null,"error":{}}"#, Response),
            (r#"{"result":{}}"#, Response),
            (r#"{"id":null,"result":{}}"#, Response),
            (
                r#"{"id":7,"method":"x","result":{}}"#,
                Either(Kind::Request),
            ),
            (r#"{"method":"x","error":{}}"#, Either(Kind::Notification)),
            (
                r#"{"id":7,"method":"x","result":null,"error":null}"#,
                Call(Kind::Request),
            ),
            (
                r#"{"id":null,"method":"x","error":null}"#,
                Call(Kind::Notification),
            ),
            (r#"{"id":7.0,"result":{}}"#, Unclear),
            (r#"{"id":[7],"error":{}}"#, Unclear),
            (r#"{"id":true,"method":"x","error":null}"#, Unclear),
            (r#"{"id":7,"Result":{}}"#, Unclear),
            (r#"{"id":7,"result":{},"Id":8}"#, Unclear),
            (r#"{"id":7,"id":8,"result":{}}"#, Unclear),
            (r#"{"method":"x","Error":{}}"#, Unclear),
            (r#"[[{"result":{}}]]"#, Unclear),
            (r#"{"id":7}"#, Itself),
            (r#"{"method":"x","Method":"y"}"#, Itself),
            ("7", Itself),
        ] {
            let spans = match Shape::read(text.as_bytes()).expect("JSON") {
                Shape::Single(spans) => spans,
                Shape::Batch(all) => all[0],
            };
            assert_eq!(spans.guise(text.as_bytes()), expected, "{text}");
            assert!(spans.may_be_in_guise(), "{text}");
        }
    }
}
