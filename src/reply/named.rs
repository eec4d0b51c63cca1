//! Quota headers with configured names: all limits, each under its own names.

use super::quota::Quota;

/// Writes the headers of several limits. Of those that share a name, the one with the least left wins.
/// With `retry_after`, the seconds after which a retry may succeed are written as well.
pub(super) fn write(
    quotas: &[Quota<'_>],
    retry_after: Option<u64>,
    add: &mut dyn FnMut(&str, &[u8]),
) {
    let mut headers: Vec<(&str, u64, u64)> = Vec::new();
    for quota in quotas {
        let Some(names) = &quota.labels.names else {
            continue;
        };
        let standing = quota.standing;
        let left = standing.remaining();
        let values = [
            (&names.limit, Some(standing.limit)),
            (&names.remaining, Some(left)),
            (&names.reset, Some(quota.reset().as_secs_rounded_up())),
            (&names.retry_after, retry_after),
        ];
        for (name, value) in values {
            let (Some(name), Some(value)) = (name, value) else {
                continue;
            };
            match headers
                .iter_mut()
                .find(|(known, ..)| *known == name.as_str())
            {
                Some(known) if left < known.2 => *known = (name, value, left),
                Some(_) => {}
                None => headers.push((name, value, left)),
            }
        }
    }
    for (name, value, _) in headers {
        add(name, itoa::Buffer::new().format(value).as_bytes());
    }
}
