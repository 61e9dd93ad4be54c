use std::{error::Error, fmt};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};

/// The name of one stream among all others: 128 random bits.
///
/// Whoever knows it may resume an anonymous stream, so `Debug` shows only its beginning.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StreamKey([u8; 16]);

impl StreamKey {
    /// The key made of these bytes, which have to be random for everybody else.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// The bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }
}

impl fmt::Debug for StreamKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, ..] = self.0;
        write!(f, "StreamKey({a:02x}{b:02x}..)")
    }
}

/// The id that we give an event: an opaque cursor, which comes back as `Last-Event-ID`.
///
/// It names a stream and a place in it: 16 bytes of the stream's key, 8 of the sequence number, and
/// 6 that check the others, as 40 characters of base64url. It says nothing else: no session, no
/// principal, no clock (`B25`).
///
/// There is exactly one text for each id, and a text with any bit changed is no id (`B23`). The
/// check is against accidents and guesses at the sequence, not a signature: who may read a stream is
/// decided by its owner.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct EventId {
    stream: StreamKey,
    sequence: u64,
}

impl EventId {
    /// Length of the text.
    pub const LEN: usize = 40;

    const BYTES: usize = 30;

    /// The id of the event with that number; the first event of a stream is number 1, and 0 is the
    /// place before it.
    #[must_use]
    pub const fn new(stream: StreamKey, sequence: u64) -> Self {
        Self { stream, sequence }
    }

    /// The stream.
    #[must_use]
    pub const fn stream(&self) -> StreamKey {
        self.stream
    }

    /// The place in the stream.
    #[must_use]
    pub const fn sequence(&self) -> u64 {
        self.sequence
    }

    /// The text, which is legal as an SSE id and as a header value.
    #[must_use]
    pub fn encode(&self) -> [u8; Self::LEN] {
        const SIX_BYTES: u64 = 0xFFFF_FFFF_FFFF;
        let key = u128::from_be_bytes(self.stream.0);
        let (high, middle, low) = ((key >> 80) as u64, (key >> 32) as u64, key as u32);
        let mut text = [0; Self::LEN];
        for (place, six_bytes) in text.chunks_exact_mut(8).zip([
            high,
            middle & SIX_BYTES,
            u64::from(low) << 16 | self.sequence >> 48,
            self.sequence & SIX_BYTES,
            self.check(),
        ]) {
            place.copy_from_slice(&letters(six_bytes).to_be_bytes());
        }
        text
    }

    /// Reads the text of an id.
    ///
    /// # Errors
    ///
    /// Fails on any text that [`encode`](Self::encode) does not write.
    pub fn decode(text: impl AsRef<[u8]>) -> Result<Self, InvalidEventId> {
        let text = text.as_ref();
        if text.len() != Self::LEN {
            return Err(InvalidEventId(()));
        }
        let mut bytes = [0; Self::BYTES];
        URL_SAFE_NO_PAD
            .decode_slice(text, &mut bytes)
            .map_err(|_| InvalidEventId(()))?;
        let (key, rest) = bytes.split_at(16);
        let (sequence, _) = rest.split_at(8);
        let (Ok(key), Ok(sequence)) = (key.try_into(), sequence.try_into()) else {
            return Err(InvalidEventId(()));
        };
        let id = Self::new(StreamKey(key), u64::from_be_bytes(sequence));
        if id.bytes() == bytes {
            Ok(id)
        } else {
            Err(InvalidEventId(()))
        }
    }

    #[inline]
    fn bytes(&self) -> [u8; Self::BYTES] {
        let mut bytes = [0; Self::BYTES];
        bytes[..16].copy_from_slice(&self.stream.0);
        bytes[16..24].copy_from_slice(&self.sequence.to_be_bytes());
        bytes[24..].copy_from_slice(&self.check().to_be_bytes()[2..]);
        bytes
    }

    /// 48 bits that depend on every other one.
    #[inline]
    fn check(&self) -> u64 {
        let key = u128::from_be_bytes(self.stream.0);
        let mut mixed = (key as u64) ^ self.sequence;
        for word in [(key >> 64) as u64, self.sequence.rotate_left(32)] {
            mixed = mix(mixed) ^ word;
        }
        mix(mixed) >> 16
    }
}

/// A bijection of 64 bits in which each bit of the result depends on each bit of `word`: the
/// finalizer of SplitMix64 (Steele, Lea and Flood, "Fast splittable pseudorandom number generators",
/// 2014).
#[inline]
const fn mix(word: u64) -> u64 {
    let word = word.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    word ^ (word >> 31)
}

/// Six bytes as eight letters of base64url (RFC 4648 §5), the first in the highest byte; by hand,
/// because it runs five times for each event.
///
/// All eight are made at once, each in a byte of its own: no sum of one reaches the next.
#[inline]
fn letters(six_bytes: u64) -> u64 {
    const EACH: u64 = 0x0101_0101_0101_0101;
    // 48 bits to twice 24, four times 12, eight times 6.
    let bits = (six_bytes & 0xFFFF_FF00_0000) << 8 | six_bytes & 0xFF_FFFF;
    let bits = (bits & 0x00FF_F000_00FF_F000) << 4 | bits & 0x0000_0FFF_0000_0FFF;
    let bits = (bits & 0x0FC0_0FC0_0FC0_0FC0) << 2 | bits & 0x003F_003F_003F_003F;
    // 1 where the value is at least that much.
    let from = |least: u64| (bits + (0x80 - least) * EACH) >> 7 & EACH;
    // `A` to `Z`, then `a` to `z`, `0` to `9`, `-` and `_`: how far each range is from the one before.
    let up = bits + u64::from(b'A') * EACH + 6 * from(26) + 49 * from(63);
    up - 75 * from(52) - 13 * from(62)
}

impl fmt::Display for EventId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = self.encode();
        f.write_str(std::str::from_utf8(&text).unwrap_or_default())
    }
}

/// A text that is no [`EventId`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InvalidEventId(());

impl fmt::Display for InvalidEventId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not an event id")
    }
}

impl Error for InvalidEventId {}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: StreamKey = StreamKey([0xA5; 16]);

    #[test]
    fn text_is_read_back_and_is_legal_everywhere_it_goes() {
        for sequence in [0, 1, 2, 255, 256, u64::from(u32::MAX), u64::MAX] {
            let id = EventId::new(KEY, sequence);
            let text = id.encode();
            assert_eq!(EventId::decode(text), Ok(id));
            assert_eq!(id.to_string().as_bytes(), text);
            assert!(
                text.iter()
                    .all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(byte))
            );
            assert_eq!(URL_SAFE_NO_PAD.encode(id.bytes()).as_bytes(), text);
        }
    }

    #[test]
    fn every_letter_is_right_in_every_place() {
        for value in 0..64_u64 {
            for place in 0..8 {
                let six_bytes = value << (6 * place);
                let bytes = &six_bytes.to_be_bytes()[2..];
                let text = letters(six_bytes).to_be_bytes();
                assert_eq!(URL_SAFE_NO_PAD.encode(bytes).as_bytes(), text);
                let others = six_bytes ^ 0xFFFF_FFFF_FFFF;
                let text = letters(others).to_be_bytes();
                let bytes = &others.to_be_bytes()[2..];
                assert_eq!(URL_SAFE_NO_PAD.encode(bytes).as_bytes(), text);
            }
        }
    }

    #[test]
    fn b23_text_with_any_bit_changed_is_no_id() {
        for sequence in [0, 1, 7, u64::MAX] {
            let text = EventId::new(KEY, sequence).encode();
            for at in 0..text.len() {
                for bit in 0..8 {
                    let mut changed = text;
                    changed[at] ^= 1 << bit;
                    assert!(EventId::decode(changed).is_err(), "byte {at}, bit {bit}");
                }
            }
        }
    }

    #[test]
    fn a33_other_texts_are_no_id() {
        let text = EventId::new(KEY, 3).to_string();
        for other in [
            String::new(),
            text[1..].to_owned(),
            format!("{text}A"),
            format!("{text}="),
            format!(" {}", &text[1..]),
            text.replace('a', "/"),
            "1_-1".to_owned(),
            "9".repeat(30),
            "9".repeat(40),
            "=".repeat(40),
            "A".repeat(64 * 1024),
        ] {
            assert_eq!(
                EventId::decode(&other),
                Err(InvalidEventId(())),
                "{other:.50}"
            );
        }
        assert!(EventId::decode([0xFF; 40]).is_err());
    }

    #[test]
    fn ids_differ_by_stream_and_by_place() {
        let one = EventId::new(KEY, 1).encode();
        let two = EventId::new(KEY, 2).encode();
        assert_ne!(one, two);
        assert_ne!(one, EventId::new(StreamKey([1; 16]), 1).encode());
    }

    #[test]
    fn debug_does_not_give_the_key_away() {
        let id = EventId::new(KEY, 1);
        assert_eq!(
            format!("{id:?}"),
            "EventId { stream: StreamKey(a5a5..), sequence: 1 }"
        );
    }
}
