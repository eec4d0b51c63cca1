//! What a request costs.

use std::time::Duration;

use envoy_test::envoy::Envoy;

use crate::{
    Contender, Error,
    load::{self, Callers},
    workload::Workload,
};

/// The stat of Envoy that counts what was answered.
pub(crate) const COMPLETED: &str = "http.ingress.downstream_rq_completed";
const REFUSED: [&str; 2] = [
    "http.ingress.downstream_rq_4xx",
    "http.ingress.downstream_rq_5xx",
];

/// The CPU microseconds that Envoy spends on a request under load.
pub(crate) async fn cost(
    contender: &Contender,
    workload: &Workload,
    callers: Callers,
    connections: u32,
    time: Duration,
) -> Result<f64, Error> {
    let envoy = &contender.envoy;
    // Asking for stats costs CPU time, too: outside of what is measured.
    let (completed, refused) = (envoy.stat(COMPLETED).await?, refused(envoy).await?);
    let used = envoy.cpu_time()?;
    load::run(envoy.address(), workload, callers, connections, time).await?;
    let used = envoy.cpu_time()?.saturating_sub(used);
    let completed = envoy.stat(COMPLETED).await? - completed;
    let refused = self::refused(envoy).await? - refused;
    if refused > 0 || completed == 0 {
        return Err(Error::Refused {
            filter: contender.name,
            workload: workload.title,
            refused,
            completed,
        });
    }
    #[expect(clippy::cast_precision_loss, reason = "far fewer requests than that")]
    Ok(used.as_secs_f64() * 1e6 / completed as f64)
}

/// Responses that say that something is wrong; not those whose client hung up at the end of a load.
async fn refused(envoy: &Envoy) -> Result<u64, Error> {
    let mut refused = 0;
    for class in REFUSED {
        refused += envoy.stat(class).await?;
    }
    Ok(refused)
}

/// The median; not a number when there are none.
pub(crate) fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    match (values.len() % 2, values.get(middle)) {
        (_, None) => f64::NAN,
        (1, Some(value)) => *value,
        (_, Some(value)) => f64::midpoint(values[middle - 1], *value),
    }
}

#[cfg(test)]
mod tests {
    use super::median;

    #[test]
    fn the_median_is_in_the_middle() {
        assert!((median(vec![3.0, 1.0, 2.0]) - 2.0).abs() < f64::EPSILON);
        assert!((median(vec![4.0, 1.0, 2.0, 3.0]) - 2.5).abs() < f64::EPSILON);
        assert!(median(vec![]).is_nan());
    }
}
