use super::{field::Field, text::PlainKey};

/// The objects whose keys are looked for, by what lies in them.
#[derive(Clone, Copy, Debug)]
pub(super) enum Keys {
    Message,
    Params,
    /// Of `params._meta`.
    Meta,
}

/// A key of up to seven letters and its closing quote, as one word.
#[derive(Clone, Copy)]
struct Short {
    word: u64,
    mask: u64,
    len: usize,
    field: Field,
}

const MESSAGE: [Short; 6] = [
    short(b"jsonrpc\"", Field::JsonRpc),
    short(b"id\"", Field::Id),
    short(b"method\"", Field::Method),
    short(b"params\"", Field::Params),
    short(b"result\"", Field::Result),
    short(b"error\"", Field::Error),
];

const PARAMS: [Short; 4] = [
    short(b"name\"", Field::Name),
    short(b"_meta\"", Field::Meta),
    short(b"uri\"", Field::Uri),
    short(b"taskId\"", Field::TaskId),
];

/// What most keys of `_meta` begin with that MCP defines.
const PREFIX: &[u8] = b"io.modelcontextprotocol/";

impl Keys {
    /// The key that `text` begins with, up to and including its closing quote, and that length.
    #[inline(always)]
    pub(super) fn find(self, text: &[u8]) -> Option<(Field, usize)> {
        match self {
            Self::Message => find_short(text, &MESSAGE),
            Self::Params => find_short(text, &PARAMS)
                .or_else(|| find(text, &[(b"protocolVersion\"", Field::ProtocolVersion)])),
            Self::Meta => {
                // Two comparisons of a few words, where the whole keys would be calls.
                let Some(name) = text.strip_prefix(PREFIX) else {
                    return find(text, &[(b"progressToken\"", Field::ProgressToken)]);
                };
                let keys: &[(&[u8], _); 2] = &[
                    (b"protocolVersion\"", Field::Claim),
                    (b"clientCapabilities\"", Field::Capabilities),
                ];
                let (field, len) = find(name, keys)?;
                Some((field, PREFIX.len() + len))
            }
        }
    }

    /// Whether one of them has that many letters: no other key in ASCII is like one of them.
    #[inline(always)]
    pub(super) const fn has_one_of(self, letters: usize) -> bool {
        const LETTERS: [u64; 3] = [
            Keys::Message.letters(),
            Keys::Params.letters(),
            Keys::Meta.letters(),
        ];
        letters < 64 && LETTERS[self as usize] >> letters & 1 == 1
    }

    /// Which of them `key` is, to a parser that does not tell letters by their case.
    pub(super) fn alike(self, key: &PlainKey) -> Option<Field> {
        let mut fields = self.fields().iter().copied();
        fields.find(|field| {
            let name = field.path().get(self.path().len()..);
            name.is_some_and(|name| key.text().eq_ignore_ascii_case(name.as_bytes()))
        })
    }

    const fn fields(self) -> &'static [Field] {
        match self {
            Self::Message => Field::IN_MESSAGE,
            Self::Params => Field::DIRECTLY_IN_PARAMS,
            Self::Meta => Field::IN_META,
        }
    }

    /// What a path begins with of a field in this object.
    const fn path(self) -> &'static str {
        match self {
            Self::Message => "",
            Self::Params => "params.",
            Self::Meta => "params._meta.",
        }
    }

    /// The lengths that the keys have, as bits.
    const fn letters(self) -> u64 {
        let (mut bits, mut at) = (0, 0);
        while at < self.fields().len() {
            bits |= 1 << (self.fields()[at].path().len() - self.path().len());
            at += 1;
        }
        bits
    }
}

const fn short(key: &[u8], field: Field) -> Short {
    let mut bytes = [0; 8];
    let mut mask = [0; 8];
    let mut at = 0;
    while at < key.len() {
        (bytes[at], mask[at]) = (key[at], u8::MAX);
        at += 1;
    }
    Short {
        word: u64::from_le_bytes(bytes),
        mask: u64::from_le_bytes(mask),
        len: key.len(),
        field,
    }
}

#[inline(always)]
fn find_short<const N: usize>(text: &[u8], keys: &[Short; N]) -> Option<(Field, usize)> {
    let word = match text.first_chunk() {
        Some(bytes) => u64::from_le_bytes(*bytes),
        None => last_word(text),
    };
    let key = keys.iter().find(|key| word & key.mask == key.word)?;
    Some((key.field, key.len))
}

/// Where a text ends before a word does. Whatever it is padded with, no key has it.
#[cold]
fn last_word(text: &[u8]) -> u64 {
    let bytes = text.iter().rev();
    bytes.fold(0, |word, byte| word << 8 | u64::from(*byte))
}

#[inline(always)]
fn find<const N: usize>(text: &[u8], keys: &[(&[u8], Field); N]) -> Option<(Field, usize)> {
    let (key, field) = keys.iter().find(|(key, _)| text.starts_with(key))?;
    Some((*field, key.len()))
}
