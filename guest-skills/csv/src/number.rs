//! Numbers in fields, and a sum that does not depend on luck.

/// The number that a field holds: decimal, with an optional exponent, spaces around it ignored. No hexadecimal, no infinity, no NaN.
pub(crate) fn parse(field: &str) -> Option<f64> {
    let field = field.trim();
    let decimal = field.bytes().all(|byte| byte.is_ascii_digit() || matches!(byte, b'+' | b'-' | b'.' | b'e' | b'E'));
    let number: f64 = if decimal { field.parse().ok()? } else { return None };
    number.is_finite().then_some(number)
}

/// A sum with Neumaier's correction: the rounding errors are summed too, so 0.1 ten times is 1.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Sum {
    sum: f64,
    correction: f64,
}

impl Sum {
    /// Adds a number.
    pub(crate) fn add(&mut self, number: f64) {
        let next = self.sum + number;
        self.correction +=
            if self.sum.abs() >= number.abs() { (self.sum - next) + number } else { (number - next) + self.sum };
        self.sum = next;
    }

    /// The sum; none where it is beyond what a number can hold.
    pub(crate) fn value(self) -> Option<f64> {
        let value = self.sum + self.correction;
        value.is_finite().then_some(value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_a_number() {
        assert_eq!(parse(" -1.50 "), Some(-1.5));
        assert_eq!(parse("+2e3"), Some(2000.0));
        for field in ["", " ", "inf", "NaN", "0x10", "1,5", "1 2", "1e999", "e", "-", "١"] {
            assert_eq!(parse(field), None, "{field:?}");
        }
    }

    #[test]
    fn sums_are_exact_where_they_can_be() {
        let mut sum = Sum::default();
        (0..10).for_each(|_| sum.add(0.1));
        assert_eq!(sum.value(), Some(1.0));
        let mut sum = Sum::default();
        [1.0, 1e100, 1.0, -1e100].into_iter().for_each(|number| sum.add(number));
        assert_eq!(sum.value(), Some(2.0));
        let mut sum = Sum::default();
        [f64::MAX, f64::MAX].into_iter().for_each(|number| sum.add(number));
        assert_eq!(sum.value(), None);
    }
}
