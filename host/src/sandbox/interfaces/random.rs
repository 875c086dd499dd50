//! `wasi:random`: bytes from the plan's seed by default, so that a run can be repeated; the machine's where a policy grants it.

use rand::{Rng as _, SeedableRng as _};
use rand_chacha::ChaCha20Rng;
use sha2::{Digest as _, Sha256};
use wasmtime::Result;
use wasmtime::component::Linker;
use wasmtime_wasi::p2::bindings::random::{insecure, insecure_seed, random};

use super::Own;
use crate::limits::{self, LimitKind};
use crate::sandbox::ctx::{Live, SkillCtx};
use crate::sandbox::stop::LimitHit;
use crate::sandbox::table::table;

pub(super) fn add_to_linker(linker: &mut Linker<SkillCtx>) -> Result<()> {
    random::add_to_linker::<SkillCtx, Own>(linker, |ctx| ctx)?;
    insecure::add_to_linker::<SkillCtx, Own>(linker, |ctx| ctx)?;
    insecure_seed::add_to_linker::<SkillCtx, Own>(linker, |ctx| ctx)
}

/// The three streams of bytes that WASI has, so that drawing from one does not change what another gives.
#[derive(Debug)]
pub(crate) struct GuestRandom {
    secure: ChaCha20Rng,
    insecure: ChaCha20Rng,
    seed: ChaCha20Rng,
}

impl GuestRandom {
    /// Streams that depend on `material` alone: the plan's seed, the step's id, the attempt.
    pub(crate) fn seeded(material: &[&[u8]]) -> Self {
        let stream = |label: &[u8]| {
            let mut hash = Sha256::new();
            for part in [b"skillhost random 1".as_slice(), label].into_iter().chain(material.iter().copied()) {
                hash.update((part.len() as u64).to_le_bytes());
                hash.update(part);
            }
            ChaCha20Rng::from_seed(hash.finalize().into())
        };
        Self { secure: stream(b"random"), insecure: stream(b"insecure"), seed: stream(b"insecure-seed") }
    }

    /// Streams that start from the machine's entropy.
    ///
    /// # Errors
    ///
    /// What the operating system says.
    pub(crate) fn real() -> std::io::Result<Self> {
        let entropy = crate::clock::entropy()?;
        Ok(Self::seeded(&[b"real", &entropy, &crate::clock::entropy()?]))
    }
}

fn draw(from: &mut ChaCha20Rng, len: u64) -> Result<Vec<u8>> {
    if len > limits::RANDOM_BYTES_MAX {
        return Err(LimitHit::new(LimitKind::Random, limits::RANDOM_BYTES_MAX).into());
    }
    let mut bytes = vec![0; usize::try_from(len)?];
    from.fill_bytes(&mut bytes);
    Ok(bytes)
}

impl Live {
    fn random_bytes(&mut self, len: u64) -> Result<Vec<u8>> {
        draw(&mut self.random.secure, len)
    }

    fn random_u64(&mut self) -> Result<u64> {
        Ok(self.random.secure.next_u64())
    }

    fn insecure_bytes(&mut self, len: u64) -> Result<Vec<u8>> {
        draw(&mut self.random.insecure, len)
    }

    fn insecure_u64(&mut self) -> Result<u64> {
        Ok(self.random.insecure.next_u64())
    }

    fn insecure_seed(&mut self) -> Result<(u64, u64)> {
        Ok((self.random.seed.next_u64(), self.random.seed.next_u64()))
    }
}

table! { impl random::Host as "wasi:random/random#" via |live| live.random;
    ours(random_bytes) fn get_random_bytes = "get-random-bytes"(len "len": u64) -> Result<Vec<u8>>;
    ours(random_u64) fn get_random_u64 = "get-random-u64"() -> Result<u64>;
}

table! { impl insecure::Host as "wasi:random/insecure#" via |live| live.random;
    ours(insecure_bytes) fn get_insecure_random_bytes = "get-insecure-random-bytes"(len "len": u64) -> Result<Vec<u8>>;
    ours(insecure_u64) fn get_insecure_random_u64 = "get-insecure-random-u64"() -> Result<u64>;
}

table! { impl insecure_seed::Host as "wasi:random/insecure-seed#" via |live| live.random;
    ours(insecure_seed) fn insecure_seed = "insecure-seed"() -> Result<(u64, u64)>;
}
