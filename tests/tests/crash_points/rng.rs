//! Chance that can be repeated.

/// The variable that sets another course than the usual one.
const SEED: &str = "DOCKSWAP_CRASH_SEED";

/// `xorshift64*`.
#[derive(Debug)]
pub(crate) struct Rng(u64);

impl Rng {
    /// From the seed in `DOCKSWAP_CRASH_SEED`, else always the same; it is printed.
    pub(crate) fn seeded() -> Self {
        let seed = std::env::var(SEED).ok().and_then(|seed| seed.parse().ok()).unwrap_or(20_261_121);
        println!("{SEED}={seed}");
        Self(seed | 1)
    }

    /// A number below `limit`.
    pub(crate) fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        let drawn = self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33;
        usize::try_from(drawn).unwrap_or_default() % limit.max(1)
    }

    pub(crate) fn shuffle<T>(&mut self, things: &mut [T]) {
        for last in (1..things.len()).rev() {
            things.swap(last, self.below(last + 1));
        }
    }
}
