//! What clients are told of their quota: the `RateLimit` and `RateLimit-Policy` fields of
//! draft-ietf-httpapi-ratelimit-headers-11 (§3, §4), and `Retry-After` (RFC 9110 §10.2.3).

use std::time::Duration;

use http::{HeaderMap, HeaderValue, header::RETRY_AFTER};

use super::Quota;
use crate::header::{RATE_LIMIT, RATE_LIMIT_POLICY};

/// What is told of a quota, under a name.
#[derive(Clone, Debug)]
pub(super) struct Policy {
    name: Box<str>,
    quota: Quota,
    /// `None` if there is nothing to tell.
    field: Option<HeaderValue>,
}

/// What is told of a key.
#[derive(Debug)]
pub(super) struct Fields {
    policy: HeaderValue,
    /// `None` if nobody has looked what is left.
    limit: Option<HeaderValue>,
}

impl Policy {
    /// The name is one that [`is_name`] takes.
    pub(super) fn new(name: &str, quota: Quota) -> Self {
        let burst = quota.burst();
        // Without what the rounding of each interval has added, which is below a nanosecond.
        let rounding = Duration::from_nanos(burst.into());
        let window = seconds(quota.window().saturating_sub(rounding)).max(1);
        let field = HeaderValue::try_from(format!(r#""{name}";q={burst};w={window}"#));
        Self {
            name: name.into(),
            quota,
            field: field.ok().filter(|_| !quota.is_unlimited()),
        }
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    pub(super) const fn quota(&self) -> Quota {
        self.quota
    }

    /// What is left of it if all units are back after `whole_in`; `None` if there is nothing to tell.
    pub(super) fn fields(&self, whole_in: Option<Duration>) -> Option<Fields> {
        let policy = self.field.clone()?;
        let limit = whole_in.and_then(|whole_in| {
            let (name, left) = (&self.name, self.quota.left(whole_in));
            let text = match self.quota.next_in(whole_in) {
                // The effective window (§4.1.2): for that long, these are all there are.
                Some(next_in) => format!(r#""{name}";r={left};t={}"#, seconds(next_in)),
                None => format!(r#""{name}";r={left}"#),
            };
            HeaderValue::try_from(text).ok()
        });
        Some(Fields { policy, limit })
    }
}

impl Fields {
    /// Next to those of other limiters, inside or further on: they are lists.
    #[cold]
    pub(super) fn append_to(self, headers: &mut HeaderMap) {
        let Self { policy, limit } = self;
        headers.append(RATE_LIMIT_POLICY, policy);
        if let Some(limit) = limit {
            headers.append(RATE_LIMIT, limit);
        }
    }
}

/// Says when to come back: never too early, and never at once (R10).
pub(super) fn insert_retry_after(headers: &mut HeaderMap, retry_after: Duration) {
    headers.insert(RETRY_AFTER, seconds(retry_after).max(1).into());
}

/// Whole seconds, rounded up.
fn seconds(time: Duration) -> u64 {
    time.as_secs() + u64::from(time.subsec_nanos() > 0)
}

/// Whole milliseconds, rounded up.
pub(super) fn millis(time: Duration) -> u64 {
    let millis = time.as_nanos().div_ceil(1_000_000);
    u64::try_from(millis).unwrap_or(u64::MAX)
}

/// Whether it can stand between quotes in a field (RFC 9651 §3.3.3), without an escape.
pub(super) fn is_name(text: &str) -> bool {
    let is_plain = |byte: u8| matches!(byte, b' '..=b'~') && !matches!(byte, b'"' | b'\\');
    !text.is_empty() && text.len() <= 64 && text.bytes().all(is_plain)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn quota_and_what_is_left_are_told() {
        let quota = Quota::per_minute(7).expect("a quota");
        let policy = Policy::new("calls", quota);
        let told = |whole_in| {
            let mut headers = HeaderMap::new();
            let fields = policy.fields(whole_in).expect("it has a limit");
            fields.append_to(&mut headers);
            assert_eq!(headers["ratelimit-policy"], r#""calls";q=7;w=60"#);
            let limit = headers.get("ratelimit")?.to_str().expect("ASCII");
            Some(limit.to_owned())
        };
        let interval = quota.interval();
        for (whole_in, expected) in [
            (
                interval * 3 + Duration::from_millis(1_001),
                r#""calls";r=3;t=2"#,
            ),
            // Of a whole unit it is the whole time, and of none there is no time to tell.
            (interval * 4, r#""calls";r=3;t=9"#),
            (interval * 7, r#""calls";r=0;t=9"#),
            (Duration::from_nanos(1), r#""calls";r=6;t=1"#),
            (Duration::ZERO, r#""calls";r=7"#),
        ] {
            assert_eq!(told(Some(whole_in)).as_deref(), Some(expected));
        }
        assert_eq!(told(None), None, "nobody has looked");
        let unlimited = Policy::new("calls", Quota::UNLIMITED);
        assert!(unlimited.fields(Some(Duration::ZERO)).is_none());
    }

    #[test]
    fn window_is_never_zero() {
        let quota = Quota::per(Duration::from_nanos(10), 10).expect("a quota");
        let fields = Policy::new("x", quota).fields(Some(Duration::ZERO));
        let fields = fields.expect("it has a limit");
        assert_eq!(fields.policy, r#""x";q=10;w=1"#);
    }

    #[test]
    fn r10_retry_after_is_rounded_up_and_never_zero() {
        for (nanos, expected) in [
            (0, "1"),
            (1, "1"),
            (1_000_000_000, "1"),
            (1_000_000_001, "2"),
            (59_999_999_999, "60"),
        ] {
            let mut headers = HeaderMap::new();
            insert_retry_after(&mut headers, Duration::from_nanos(nanos));
            assert_eq!(headers["retry-after"], expected, "{nanos}");
        }
        assert_eq!(millis(Duration::from_nanos(1)), 1);
        assert_eq!(millis(Duration::from_millis(1)), 1);
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        /// RL-4: whoever waits as long as it is told has waited enough, and less than a second too long.
        /// Nobody is told to come back before there is more (draft, §6).
        #[test]
        fn rl_4_times_are_enough_and_less_than_a_second_too_long(
            interval in 1..10_000_000_000_u64,
            burst in 1..100_u32,
            spent in 0.0..1.0,
            cost in 1..100_u32,
        ) {
            let interval = Duration::from_nanos(interval);
            let quota = Quota::per(interval, 1).and_then(|quota| quota.with_burst(burst));
            let quota = quota.expect("a quota");
            let whole_in = quota.window().mul_f64(spent);
            let left = quota.left(whole_in);
            if let Some(next_in) = quota.next_in(whole_in) {
                prop_assert!(next_in > Duration::ZERO && next_in <= interval);
                prop_assert_eq!(quota.left(whole_in - next_in), left + 1);
                let told = Duration::from_secs(seconds(next_in));
                prop_assert!(told >= next_in && told < next_in + Duration::from_secs(1));
                // What a request that costs more has to wait for.
                let wait = (whole_in + interval * (left + cost)).saturating_sub(quota.window());
                let mut headers = HeaderMap::new();
                insert_retry_after(&mut headers, wait);
                let retry_after = headers[RETRY_AFTER].to_str().expect("ASCII");
                let retry_after = Duration::from_secs(retry_after.parse().expect("a number"));
                prop_assert!(retry_after >= wait && retry_after < wait + Duration::from_secs(1));
                prop_assert!(retry_after >= told);
            }
        }
    }

    #[test]
    fn names_are_what_needs_no_escape() {
        for (name, is) in [
            ("default", true),
            ("per user", true),
            ("", false),
            ("a\"b", false),
            ("a\\b", false),
            ("ä", false),
            ("a\nb", false),
        ] {
            assert_eq!(is_name(name), is, "{name:?}");
        }
    }
}
