//! Clusters of Istio: their names are long, and are no valid `:authority`.

use envoy_test::{
    client::Chat,
    filters,
    metered::{Metered, each_caller},
    remote::{self, Protocol, wait_for_counted},
};

use crate::support::{TestResult, send};

/// A name of 150 bytes.
fn istio_cluster() -> String {
    let (service, namespace) = ("s".repeat(53), "n".repeat(63));
    format!("outbound|8081||{service}.{namespace}.svc.cluster.local")
}

#[tokio::test]
async fn service_behind_long_cluster_name_is_reached() -> TestResult {
    let cluster = istio_cluster();
    assert_eq!(cluster.len(), 150);
    let mut configuration = each_caller(100);
    configuration["storage"] = Protocol::Reserve.storage();
    configuration["storage"]["cluster"] = cluster.as_str().into();
    let limitador = remote::limitador(&configuration)?.start().await?;
    let address = limitador.address();
    let metered = Metered::build(configuration, |builder| {
        builder.cluster(filters::cluster(&cluster, address, true))
    })
    .await?;
    for expected in [200, 429] {
        let chat = Chat::default();
        assert_eq!(send(&metered, &chat).await?, expected);
        wait_for_counted(&limitador, 100).await?;
    }
    metered.check().await?;
    Ok(())
}
