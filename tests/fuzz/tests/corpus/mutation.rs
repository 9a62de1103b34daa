//! Inputs made of a corpus: parts of it changed, dropped, doubled and mixed. The same sequence always.

/// The most that is done to one input.
const STEPS: usize = 5;

/// The largest input that is made.
const LONGEST: usize = 16 * 1024;

/// Bytes on which readers turn.
const TURNS: &[u8] = b"\0\t\n\r \"#&'*,-./0189:;<=>?@AZ[\\]_`az{|}~\x7f\x80\xbf\xc3\xff";

/// Makes inputs.
pub(crate) struct Mutator<'a> {
    corpus: &'a [Vec<u8>],
    /// Marsaglia's xorshift64.
    state: u64,
}

impl<'a> Mutator<'a> {
    pub(crate) const fn new(corpus: &'a [Vec<u8>]) -> Self {
        Self { corpus, state: 0x9E37_79B9_7F4A_7C15 }
    }

    /// The next input.
    pub(crate) fn next_input(&mut self) -> Vec<u8> {
        let mut input = self.seed().to_vec();
        for _ in 0..=self.below(STEPS) {
            self.change(&mut input);
        }
        input.truncate(LONGEST);
        input
    }

    fn change(&mut self, input: &mut Vec<u8>) {
        let at = self.below(input.len() + 1);
        let until = (at + self.below(64)).min(input.len());
        match self.below(8) {
            0 => drop(input.drain(at..until)),
            1 => input.truncate(at),
            2 => {
                let doubled = input[at..until].to_vec();
                input.splice(at..at, doubled);
            }
            3 => {
                let part = self.part();
                input.splice(at..until, part);
            }
            4 => {
                let part = self.part();
                input.splice(at..at, part);
            }
            5 => input.insert(at, TURNS[self.below(TURNS.len())]),
            change => {
                let Some(byte) = input.get_mut(at) else { return };
                *byte = if change == 6 { *byte ^ 1 << self.below(8) } else { TURNS[self.below(TURNS.len())] };
            }
        }
    }

    /// A part of some input.
    fn part(&mut self) -> Vec<u8> {
        let seed = self.seed();
        let from = self.below(seed.len() + 1);
        let length = self.below(48);
        seed[from..].iter().take(length).copied().collect()
    }

    fn seed(&mut self) -> &'a [u8] {
        &self.corpus[self.below(self.corpus.len())]
    }

    /// A number below `end`, which is not 0.
    fn below(&mut self, end: usize) -> usize {
        self.state ^= self.state << 13;
        self.state ^= self.state >> 7;
        self.state ^= self.state << 17;
        usize::try_from(self.state >> 33).unwrap_or_default() % end
    }
}
