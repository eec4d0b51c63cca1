//! Names of clusters as long as Istio makes them.

use std::error::Error;

use envoy_test::{
    client::{self, Chat, client},
    filters,
    metered::{CALLER, Metered, each_caller},
    remote::{self, Protocol, wait_for_counted},
};

/// A name of 150 bytes.
fn istio_cluster() -> String {
    let (service, namespace) = ("s".repeat(53), "n".repeat(63));
    format!("outbound|8081||{service}.{namespace}.svc.cluster.local")
}

#[tokio::test]
async fn long_cluster_name_reaches_service() -> Result<(), Box<dyn Error>> {
    let cluster = istio_cluster();
    assert_eq!(cluster.len(), 150);
    let mut configuration = each_caller(100);
    configuration["storage"] = Protocol::Reserve.storage();
    let limitador = remote::limitador(&configuration)?.start().await?;
    configuration["storage"]["cluster"] = cluster.as_str().into();
    let address = limitador.address();
    let metered = Metered::build(configuration, |builder| {
        builder.cluster(filters::cluster(&cluster, address, true))
    })
    .await?;
    let client = client(client::Protocol::Http1);
    for expected in [200, 429] {
        let chat = Chat::default().header(CALLER, "alice");
        let response = chat.send(&client, metered.envoy.address()).await?;
        assert_eq!(response.status().as_u16(), expected);
        response.bytes().await?;
        wait_for_counted(&limitador, 100).await?;
    }
    metered.check().await?;
    Ok(())
}
