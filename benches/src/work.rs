//! The data, the same in every run: keys, bodies of JSON-like text, and the orders in which they are read.

use bytes::Bytes;
use std::fmt::Write;

/// SplitMix64.
pub struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ z >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ z >> 27).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ z >> 31
    }

    pub fn below(&mut self, limit: usize) -> usize {
        usize::try_from(self.next() % limit as u64).expect("less than a usize")
    }

    #[expect(clippy::cast_precision_loss, reason = "53 bits fit")]
    fn unit(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// Normally distributed, by Box and Muller.
    fn normal(&mut self) -> f64 {
        let radius = (-2.0 * (1.0 - self.unit()).ln()).sqrt();
        radius * (std::f64::consts::TAU * self.unit()).cos()
    }
}

/// Keys and bodies.
pub struct Work {
    text: Bytes,
    keys: Vec<String>,
    /// Where the bodies begin in the text, and their lengths.
    bodies: Vec<(usize, usize)>,
}

impl Work {
    /// Log-normal lengths: median 8 KiB, 1 in 100 above 300 KiB, none above 2 MiB.
    pub fn responses(count: usize) -> Self {
        const MEDIAN: f64 = 8192.0;
        const P99: f64 = 300.0 * 1024.0;
        /// Of the standard normal distribution.
        const QUANTILE_99: f64 = 2.326_347_9;
        let sigma = (P99 / MEDIAN).ln() / QUANTILE_99;
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "between 64 and 2 MiB")]
        let len = |random: &mut Random| (MEDIAN * (sigma * random.normal()).exp()).clamp(64.0, 2_097_152.0) as usize;
        Self::new(count, len)
    }

    /// Bodies of 1 KiB.
    pub fn small(count: usize) -> Self {
        Self::of_len(count, 1024)
    }

    /// Bodies of one length.
    pub fn of_len(count: usize, len: usize) -> Self {
        Self::new(count, |_| len)
    }

    fn new(count: usize, len: impl Fn(&mut Random) -> usize) -> Self {
        const TEXT_LEN: usize = 16 << 20;
        let mut random = Random::new(3);
        let mut text = String::with_capacity(TEXT_LEN + 256);
        while text.len() < TEXT_LEN {
            let (id, name, score, note) = (random.below(1 << 20), random.next(), random.below(1000), random.next());
            writeln!(
                text,
                r#"{{"id":{id},"name":"user {name:x}","active":true,"score":0.{score},"note":"{note:x}"}},"#
            )
            .expect("a string takes everything");
        }
        let bodies = (0..count)
            .map(|_| {
                let len = len(&mut random);
                (random.below(text.len() - len), len)
            })
            .collect();
        let keys = (0..count).map(|i| format!("GET https://api.example.com/v1/items/{i:08}?fields=all")).collect();
        Self { text: text.into(), keys, bodies }
    }

    pub fn len(&self) -> usize {
        self.keys.len()
    }

    pub fn item(&self, i: usize) -> (&[u8], &[u8]) {
        self.item_in_version(i, 0)
    }

    /// The same with the body in shared memory.
    pub fn shared_item(&self, i: usize) -> (&[u8], Bytes) {
        let (key, body) = self.item(i);
        (key, self.text.slice_ref(body))
    }

    /// The key with another body of the same length.
    pub fn item_in_version(&self, i: usize, version: usize) -> (&[u8], &[u8]) {
        let (start, len) = self.bodies[i];
        let start = (start + version * 7919) % (self.text.len() - len);
        (self.keys[i].as_bytes(), &self.text[start..start + len])
    }

    /// Bytes of all keys and bodies.
    pub fn bytes(&self) -> u64 {
        let keys = self.keys.iter().map(String::len);
        keys.chain(self.bodies.iter().map(|body| body.1)).map(|len| len as u64).sum()
    }

    /// Keys as often as a web's popular pages: the n-th with a weight of 1/n, popular ones spread over all.
    #[expect(clippy::cast_precision_loss, reason = "counts")]
    pub fn zipf(&self, count: usize) -> Vec<usize> {
        let mut total = 0.0;
        let sums: Vec<f64> = (1..=self.len()).map(|rank| (total += 1.0 / rank as f64, total).1).collect();
        let mut random = Random::new(5);
        let rank = |point: f64| sums.partition_point(|sum| *sum < point).min(self.len() - 1);
        (0..count).map(|_| rank(random.unit() * total) * 7919 % self.len()).collect()
    }

    pub fn uniform(&self, count: usize) -> Vec<usize> {
        let mut random = Random::new(7);
        (0..count).map(|_| random.below(self.len())).collect()
    }
}
