//! The cost of a request.

use std::time::Duration;

use envoy_test::envoy::Envoy;

use crate::{
    contender::Contender,
    error::Error,
    load::{self, Callers},
    workload::Workload,
};

/// Envoy's counter of completed responses.
pub(crate) const COMPLETED: &str = "http.ingress.downstream_rq_completed";
const FAILED: [&str; 2] = [
    "http.ingress.downstream_rq_4xx",
    "http.ingress.downstream_rq_5xx",
];

/// Returns the CPU microseconds that Envoy spends on a request under load.
pub(crate) async fn cost(
    contender: &Contender,
    workload: &Workload,
    callers: Callers,
    connections: u32,
    time: Duration,
) -> Result<f64, Error> {
    let envoy = &contender.envoy;
    // Stats are fetched outside of the measurement, because that costs CPU time as well.
    let (completed, failed) = (envoy.stat(COMPLETED).await?, self::failed(envoy).await?);
    let used = envoy.cpu_time()?;
    load::run(envoy.address(), workload, callers, connections, time).await?;
    let used = envoy.cpu_time()?.saturating_sub(used);
    let completed = envoy.stat(COMPLETED).await? - completed;
    let failed = self::failed(envoy).await? - failed;
    if failed > 0 || completed == 0 {
        return Err(Error::Responses {
            filter: contender.name.clone(),
            workload: workload.title,
            failed,
            completed,
        });
    }
    #[expect(clippy::cast_precision_loss, reason = "far fewer requests than that")]
    Ok(used.as_secs_f64() * 1e6 / completed as f64)
}

/// Returns the number of responses with an error status, without those that ended with the load.
async fn failed(envoy: &Envoy) -> Result<u64, Error> {
    let mut failed = 0;
    for class in FAILED {
        failed += envoy.stat(class).await?;
    }
    Ok(failed)
}

/// Returns the median, or NaN of no values.
pub(crate) fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    match (values.len() % 2, values.get(middle)) {
        (_, None) => f64::NAN,
        (1, Some(value)) => *value,
        (_, Some(value)) => f64::midpoint(values[middle - 1], *value),
    }
}

/// Returns a number of bytes in megabytes.
#[expect(clippy::cast_precision_loss, reason = "two digits are printed")]
pub(crate) fn megabytes(bytes: u64) -> f64 {
    bytes as f64 / 1e6
}

#[cfg(test)]
mod tests {
    use super::median;

    #[test]
    fn median_is_the_middle_value() {
        assert!((median(vec![3.0, 1.0, 2.0]) - 2.0).abs() < f64::EPSILON);
        assert!((median(vec![4.0, 1.0, 2.0, 3.0]) - 2.5).abs() < f64::EPSILON);
        assert!(median(vec![]).is_nan());
    }
}
