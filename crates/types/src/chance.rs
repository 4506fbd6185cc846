//! Randomness as an argument.
//!
//! Deciders never draw random numbers; shells that need them (ids, jitter, secrets) take an [`Entropy`].
//! [`OsEntropy`] (a block at a time: [`BlockEntropy`]) is for processes, [`SeededEntropy`] for tests and the simulator, where the same seed must give
//! the same bytes for ever (so its algorithm, SplitMix64, is fixed here and not left to a dependency).

/// A source of random bits.
pub trait Entropy: Send {
    /// The next 64 random bits.
    fn next_u64(&mut self) -> u64;

    /// The next 128 random bits.
    fn next_u128(&mut self) -> u128 {
        (u128::from(self.next_u64()) << 64) | u128::from(self.next_u64())
    }

    /// Fills `out` with random bytes.
    fn fill(&mut self, out: &mut [u8]) {
        for chunk in out.chunks_mut(8) {
            let bytes = self.next_u64().to_le_bytes();
            chunk.copy_from_slice(&bytes[..chunk.len()]);
        }
    }

    /// A number in `0..bound`; 0 when `bound` is 0. The bias (below 2⁻³² for bounds under 2³²) is harmless for
    /// jitter and scheduling; do not use it to make secrets.
    fn below(&mut self, bound: u64) -> u64 {
        if bound == 0 { 0 } else { self.next_u64() % bound }
    }

    /// A number in `0.0..1.0`, with 53 random bits.
    fn unit(&mut self) -> f64 {
        const SCALE: f64 = 1.0 / (1u64 << 53) as f64;
        (self.next_u64() >> 11) as f64 * SCALE
    }
}

/// The operating system's generator (getrandom(2)). Fit for secrets.
#[derive(Debug, Default, Clone, Copy)]
pub struct OsEntropy;

impl Entropy for OsEntropy {
    fn next_u64(&mut self) -> u64 {
        let mut bytes = [0u8; 8];
        self.fill(&mut bytes);
        u64::from_le_bytes(bytes)
    }

    #[expect(
        clippy::disallowed_methods,
        clippy::expect_used,
        reason = "the one place that asks the operating system"
    )]
    fn fill(&mut self, out: &mut [u8]) {
        getrandom::fill(out).expect("getrandom(2) does not fail once the system has booted");
    }
}

/// The operating system's generator, asked for a block at a time: for whoever makes an id for every event, where a system call for
/// each costs more than the rest of the id. As hard to guess as [`OsEntropy`], but what was and will be given out stays in memory: not
/// for keys.
pub struct BlockEntropy {
    block: [u8; Self::BLOCK_BYTES],
    used: usize,
}

impl BlockEntropy {
    /// 256 ids of 16 bytes: the call is rare, and the kernel fills this much in microseconds.
    const BLOCK_BYTES: usize = 4096;
}

impl Default for BlockEntropy {
    fn default() -> Self {
        Self { block: [0; Self::BLOCK_BYTES], used: Self::BLOCK_BYTES }
    }
}

impl Entropy for BlockEntropy {
    fn next_u64(&mut self) -> u64 {
        if self.used == Self::BLOCK_BYTES {
            OsEntropy.fill(&mut self.block);
            self.used = 0;
        }
        let mut bytes = [0u8; 8];
        bytes.copy_from_slice(&self.block[self.used..self.used + 8]);
        self.used += 8;
        u64::from_le_bytes(bytes)
    }
}

/// SplitMix64 (Steele, Lea, Flood 2014): tiny, fast, and the same on every platform. Not fit for secrets.
#[derive(Debug, Clone)]
pub struct SeededEntropy {
    state: u64,
}

impl SeededEntropy {
    /// A generator that yields the same sequence for the same `seed`.
    #[must_use]
    pub const fn new(seed: u64) -> Self {
        Self { state: seed }
    }
}

impl Entropy for SeededEntropy {
    fn next_u64(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.state;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn splitmix64_matches_the_reference_sequence() {
        let mut e = SeededEntropy::new(1_234_567);
        let got: Vec<u64> = (0..5).map(|_| e.next_u64()).collect();
        assert_eq!(
            got,
            [
                6_457_827_717_110_365_317,
                3_203_168_211_198_807_973,
                9_817_491_932_198_370_423,
                4_593_380_528_125_082_431,
                16_408_922_859_458_223_821
            ]
        );
    }

    #[test]
    fn blocks_follow_each_other_and_nothing_is_given_twice() {
        let mut e = BlockEntropy::default();
        let drawn = 3 * BlockEntropy::BLOCK_BYTES / 8;
        let different: std::collections::BTreeSet<u64> = (0..drawn).map(|_| e.next_u64()).collect();
        assert_eq!(different.len(), drawn);
        assert!(!different.contains(&0), "nothing comes from a block that was not filled");
    }

    #[test]
    fn fill_covers_every_length() {
        for len in 0..40 {
            let mut bytes = vec![0u8; len];
            SeededEntropy::new(7).fill(&mut bytes);
            assert_eq!(bytes.iter().filter(|b| **b != 0).count() > len / 2, len > 0, "length {len}");
        }
    }
}
