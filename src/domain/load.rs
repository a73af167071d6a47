//! How much of a server is used: sessions by the connections that it is declared for, in tenths that follow slowly, so that
//! small changes change nothing.

/// A level is left when the use is so many percent past its edge.
const DAMPING: u32 = 5;

/// The level, 1 (up to 10 percent) to 10, of `sessions` on a server for `most` connections; `before` is the present one.
#[must_use]
pub fn level(sessions: u32, most: u32, before: Option<u8>) -> u8 {
    let percent = u32::try_from(u64::from(sessions) * 100 / u64::from(most.max(1))).unwrap_or(u32::MAX);
    let plain = of(percent);
    let Some(before) = before else { return plain };
    let (low, high) = (u32::from(before - 1) * 10, u32::from(before) * 10);
    let stays = percent + DAMPING >= low && percent <= high + DAMPING;
    if stays && plain.abs_diff(before) <= 1 {
        before
    } else {
        plain
    }
}

fn of(percent: u32) -> u8 {
    u8::try_from(percent.div_ceil(10).clamp(1, 10)).unwrap_or(10)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_are_tenths() {
        for (sessions, expected) in [(0, 1), (10, 1), (11, 2), (50, 5), (91, 10), (500, 10)] {
            assert_eq!(level(sessions, 100, None), expected, "{sessions}");
        }
        assert_eq!(level(3, 0, None), 10, "for no connections at all");
    }

    #[test]
    fn a_small_change_changes_nothing() {
        assert_eq!(level(24, 100, Some(2)), 2);
        assert_eq!(level(26, 100, Some(2)), 3);
        assert_eq!(level(16, 100, Some(3)), 3);
        assert_eq!(level(14, 100, Some(3)), 2);
        assert_eq!(level(90, 100, Some(1)), 9, "a large one is followed at once");
    }
}
