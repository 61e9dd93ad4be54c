/// Counts of a [`JwtAuthorizer`](super::JwtAuthorizer).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct JwtStats {
    /// Keys that tokens can be verified with, of all issuers.
    pub keys: usize,
    /// How often keys were fetched, or a file of them read again.
    pub fetches_total: u64,
    /// Tokens whose verdict is known.
    pub cached: usize,
    /// What these take, in bytes.
    pub cached_bytes: usize,
    /// How often a verdict was known.
    pub hits_total: u64,
    /// How often a signature was checked.
    pub verified_total: u64,
}
