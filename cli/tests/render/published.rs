//! The resources as their projects publish them: the fields of the `OpenAPI` schemas in Istio's
//! `manifests/charts/base/files/crd-all.gen.yaml` (1.31) and in Envoy Gateway's `charts/gateway-crds-helm` (main, 2026-11), in a
//! notation of our own. Beside the fields that `tollgate render` prints, others of the same objects are listed, with any value. A field
//! that is not listed is an error, even if it is published.

use crate::schema::{NAME, Schema, TEXT};

const ANYTHING: &Schema = &Schema::Anything;
const TEXTS: &Schema = &Schema::List(0..=usize::MAX, &TEXT);
const PORT: &Schema = &Schema::Integer(1..=65_535);

macro_rules! object {
    ($($field:literal: $schema:expr),* $(,)?) => { object!(required [] exclusive [] $($field: $schema),*) };
    (required [$($required:literal),*] $($field:literal: $schema:expr),* $(,)?) => {
        object!(required [$($required),*] exclusive [] $($field: $schema),*)
    };
    (required [$($required:literal),*] exclusive [$($exclusive:literal),*] $($field:literal: $schema:expr),* $(,)?) => {
        &Schema::Object {
            required: &[$($required),*],
            exclusive: &[$($exclusive),*],
            fields: &[$(($field, $schema)),*],
        }
    };
}

/// Returns the version of a kind of resource, and the schema of its `spec`.
pub(crate) fn of(kind: &str) -> Option<(&'static str, &'static Schema)> {
    Some(match kind {
        "WasmPlugin" => ("extensions.istio.io/v1alpha1", WASM_PLUGIN),
        "TrafficExtension" => ("extensions.istio.io/v1alpha1", TRAFFIC_EXTENSION),
        "EnvoyFilter" => ("networking.istio.io/v1alpha3", ENVOY_FILTER),
        "RequestAuthentication" => ("security.istio.io/v1", REQUEST_AUTHENTICATION),
        "AuthorizationPolicy" => ("security.istio.io/v1", AUTHORIZATION_POLICY),
        "EnvoyExtensionPolicy" => ("gateway.envoyproxy.io/v1alpha1", EXTENSION_POLICY),
        "EnvoyPatchPolicy" => ("gateway.envoyproxy.io/v1alpha1", PATCH_POLICY),
        "SecurityPolicy" => ("gateway.envoyproxy.io/v1alpha1", SECURITY_POLICY),
        "ClientTrafficPolicy" => ("gateway.envoyproxy.io/v1alpha1", CLIENT_TRAFFIC_POLICY),
        "ReferenceGrant" => ("gateway.networking.k8s.io/v1beta1", REFERENCE_GRANT),
        _ => return None,
    })
}

// Istio.

const TARGET: &Schema = object! { required ["kind", "name"]
    "group": &Schema::Text(0..=253), "kind": &Schema::Text(1..=63), "name": &NAME, "namespace": &Schema::Text(0..=0),
};
const TARGETS: &Schema = &Schema::List(0..=16, TARGET);
const SELECTOR: &Schema = object! { "matchLabels": &Schema::Texts };
const MATCH: &Schema = &Schema::List(
    0..=usize::MAX,
    object! {
        "mode": &Schema::Choice(&["UNDEFINED", "CLIENT", "SERVER", "CLIENT_AND_SERVER"]),
        "ports": &Schema::List(0..=usize::MAX, object! { required ["number"] "number": PORT }),
    },
);
const PHASE: &Schema = &Schema::Choice(&["UNSPECIFIED_PHASE", "AUTHN", "AUTHZ", "STATS"]);
const STRATEGY: &Schema = &Schema::Choice(&["FAIL_CLOSE", "FAIL_OPEN", "FAIL_RELOAD"]);
const PULL: &Schema = &Schema::Choice(&["UNSPECIFIED_POLICY", "IfNotPresent", "Always"]);
const KIND: &Schema = &Schema::Choice(&["UNSPECIFIED_PLUGIN_TYPE", "HTTP", "NETWORK"]);

const WASM_PLUGIN: &Schema = object! { required ["url"] exclusive ["selector", "targetRef", "targetRefs"]
    "failStrategy": STRATEGY, "imagePullPolicy": PULL, "imagePullSecret": &NAME, "match": MATCH, "phase": PHASE,
    "pluginConfig": &Schema::Preserved, "pluginName": &Schema::Text(1..=256), "priority": ANYTHING, "selector": SELECTOR,
    "sha256": &Schema::Sha256, "targetRef": TARGET, "targetRefs": TARGETS, "type": KIND, "url": &Schema::Text(1..=usize::MAX),
    "verificationKey": &TEXT, "vmConfig": ANYTHING,
};

const TRAFFIC_EXTENSION: &Schema = object! { required ["wasm"] exclusive ["selector", "targetRefs"]
    "lua": ANYTHING, "match": MATCH, "phase": PHASE, "priority": ANYTHING, "selector": SELECTOR, "targetRefs": TARGETS,
    "wasm": object! { required ["url"]
        "failStrategy": STRATEGY, "imagePullPolicy": PULL, "imagePullSecret": &NAME, "pluginConfig": &Schema::Preserved,
        "pluginName": &Schema::Text(1..=256), "sha256": &Schema::Sha256, "type": KIND, "url": &Schema::Text(1..=usize::MAX),
        "verificationKey": &TEXT, "vmConfig": ANYTHING,
    },
};

const ENVOY_FILTER: &Schema = object! { required [] exclusive ["workloadSelector", "targetRefs"]
    "configPatches": &Schema::List(0..=usize::MAX, object! {
        "applyTo": &Schema::Choice(&[
            "INVALID", "LISTENER", "FILTER_CHAIN", "NETWORK_FILTER", "HTTP_FILTER", "ROUTE_CONFIGURATION", "VIRTUAL_HOST", "HTTP_ROUTE",
            "CLUSTER", "EXTENSION_CONFIG", "BOOTSTRAP", "LISTENER_FILTER",
        ]),
        "match": object! { required [] exclusive ["listener", "routeConfiguration", "cluster", "waypoint"]
            "cluster": ANYTHING,
            "context": &Schema::Choice(&["ANY", "SIDECAR_INBOUND", "SIDECAR_OUTBOUND", "GATEWAY", "WAYPOINT"]),
            "listener": object! {
                "filterChain": object! {
                    "applicationProtocols": &TEXT, "destinationPort": PORT, "name": &TEXT, "sni": &TEXT, "transportProtocol": &TEXT,
                    "filter": object! { "name": &TEXT, "subFilter": object! { "name": &TEXT } },
                },
                "listenerFilter": &TEXT, "name": &TEXT, "portName": &TEXT, "portNumber": PORT,
            },
            "proxy": ANYTHING, "routeConfiguration": ANYTHING, "waypoint": ANYTHING,
        },
        "patch": object! {
            "filterClass": &Schema::Choice(&["UNSPECIFIED", "AUTHN", "AUTHZ", "STATS"]),
            "operation": &Schema::Choice(&[
                "INVALID", "MERGE", "ADD", "REMOVE", "INSERT_BEFORE", "INSERT_AFTER", "INSERT_FIRST", "REPLACE", "MERGE_AND_REPLACE_LIST",
            ]),
            "value": &Schema::Preserved,
        },
    }),
    "priority": ANYTHING, "targetRefs": TARGETS, "workloadSelector": object! { "labels": &Schema::Texts },
};

const REQUEST_AUTHENTICATION: &Schema = object! { required [] exclusive ["selector", "targetRef", "targetRefs"]
    "jwtRules": &Schema::List(0..=4096, object! { required ["issuer"] exclusive ["jwks", "jwksUri", "jwks_uri"]
        "audiences": TEXTS, "forwardOriginalToken": &Schema::Boolean, "fromCookies": ANYTHING, "fromHeaders": ANYTHING,
        "fromParams": ANYTHING, "issuer": &Schema::Text(1..=usize::MAX), "jwks": &TEXT, "jwksUri": &Schema::Text(1..=2048),
        "jwks_uri": &Schema::Text(1..=2048), "outputClaimToHeaders": ANYTHING, "outputPayloadToHeader": &TEXT,
        "spaceDelimitedClaims": ANYTHING, "timeout": &TEXT,
    }),
    "selector": SELECTOR, "targetRef": TARGET, "targetRefs": TARGETS,
};

const AUTHORIZATION_POLICY: &Schema = object! { required [] exclusive ["selector", "targetRef", "targetRefs"]
    "action": &Schema::Choice(&["ALLOW", "DENY", "AUDIT", "CUSTOM"]),
    "provider": object! { "name": &TEXT },
    "rules": &Schema::List(0..=512, object! {
        "from": &Schema::List(0..=512, object! {
            "source": object! {
                "ipBlocks": TEXTS, "namespaces": TEXTS, "notIpBlocks": TEXTS, "notNamespaces": TEXTS, "notPrincipals": TEXTS,
                "notRemoteIpBlocks": TEXTS, "notRequestPrincipals": TEXTS, "notServiceAccounts": TEXTS, "principals": TEXTS,
                "remoteIpBlocks": TEXTS, "requestPrincipals": TEXTS, "serviceAccounts": TEXTS,
            },
        }),
        "to": ANYTHING,
        "when": &Schema::List(0..=usize::MAX, object! { required ["key"] "key": &TEXT, "notValues": TEXTS, "values": TEXTS }),
    }),
    "selector": SELECTOR, "targetRef": TARGET, "targetRefs": TARGETS,
};

// Envoy Gateway.

const GATEWAY: &Schema = object! { required ["group", "kind", "name"]
    "group": &Schema::Choice(&["gateway.networking.k8s.io"]),
    "kind": &Schema::Choice(&["Gateway", "ListenerSet", "HTTPRoute", "GRPCRoute", "UDPRoute", "TCPRoute", "TLSRoute"]),
    "name": &NAME, "sectionName": &NAME,
};
const GATEWAYS: &Schema = &Schema::List(1..=16, GATEWAY);

const EXTENSION_POLICY: &Schema = object! { required ["targetRefs"]
    "dynamicModule": ANYTHING, "extProc": ANYTHING, "lua": ANYTHING, "mergeType": ANYTHING, "targetRef": GATEWAY, "targetRefs": GATEWAYS,
    "targetSelectors": ANYTHING,
    "wasm": &Schema::List(0..=16, object! { required ["code"]
        "code": object! { required ["type"] exclusive ["http", "image"]
            "http": object! { required ["url"] "sha256": &Schema::Sha256, "tls": ANYTHING, "url": &TEXT },
            "image": object! { required ["url"]
                "pullSecretRef": object! { required ["name"]
                    "group": &TEXT, "kind": &Schema::Choice(&["Secret"]), "name": &NAME, "namespace": &Schema::Text(1..=63),
                },
                "sha256": &Schema::Sha256, "tls": ANYTHING, "url": &TEXT,
            },
            "pullPolicy": &Schema::Choice(&["IfNotPresent", "Always"]),
            "type": &Schema::Choice(&["HTTP", "Image"]),
        },
        "config": ANYTHING, "env": ANYTHING, "failOpen": &Schema::Boolean, "name": &TEXT, "rootID": &TEXT,
    }),
};

const PATCH_POLICY: &Schema = object! { required ["type", "targetRef"] exclusive ["targetRef", "targetRefs"]
    "jsonPatches": &Schema::List(0..=usize::MAX, object! { required ["name", "operation", "type"]
        "name": &TEXT,
        "operation": object! { required ["op"]
            "from": &TEXT, "jsonPath": &TEXT, "op": &Schema::Choice(&["add", "remove", "replace", "move", "copy", "test"]), "path": &TEXT,
            "value": ANYTHING,
        },
        "type": &Schema::Choice(&[
            "type.googleapis.com/envoy.config.listener.v3.Listener", "type.googleapis.com/envoy.config.route.v3.RouteConfiguration",
            "type.googleapis.com/envoy.config.cluster.v3.Cluster", "type.googleapis.com/envoy.config.endpoint.v3.ClusterLoadAssignment",
            "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.Secret",
        ]),
    }),
    "priority": ANYTHING, "targetRef": GATEWAY, "targetRefs": GATEWAYS, "type": &Schema::Choice(&["JSONPatch"]),
};

const SECURITY_POLICY: &Schema = object! { required ["targetRefs"]
    "apiKeyAuth": ANYTHING, "basicAuth": ANYTHING, "cors": ANYTHING, "mergeType": ANYTHING, "oidc": ANYTHING, "targetRef": GATEWAY,
    "targetRefs": GATEWAYS, "targetSelectors": ANYTHING,
    "authorization": object! {
        "defaultAction": &Schema::Choice(&["Allow", "Deny"]),
        "rules": &Schema::List(0..=usize::MAX, object! { required ["action"]
            "action": &Schema::Choice(&["Allow", "Deny"]), "name": &NAME, "operation": ANYTHING,
            "principal": object! { "clientCIDRs": &Schema::List(1..=usize::MAX, &TEXT), "headers": ANYTHING, "jwt": ANYTHING },
        }),
    },
    "extAuth": object! { required [] exclusive ["grpc", "http"]
        "failOpen": &Schema::Boolean, "headersToExtAuth": ANYTHING, "http": ANYTHING,
        "grpc": object! {
            "backendRef": ANYTHING, "backendSettings": ANYTHING,
            "backendRefs": &Schema::List(0..=16, object! { required ["name"]
                "fallback": ANYTHING, "group": &TEXT, "kind": &TEXT, "name": &NAME, "namespace": &Schema::Text(1..=63), "port": PORT,
                "weight": ANYTHING,
            }),
        },
    },
    "jwt": object! { required ["providers"]
        "optional": &Schema::Boolean,
        "providers": &Schema::List(1..=4, object! { required ["name"] exclusive ["localJWKS", "remoteJWKS"]
            "audiences": TEXTS, "claimToHeaders": ANYTHING, "extractFrom": ANYTHING, "issuer": &Schema::Text(0..=253),
            "localJWKS": ANYTHING, "name": &NAME, "recomputeRoute": ANYTHING,
            "remoteJWKS": object! { required ["uri"]
                "backendRef": ANYTHING, "backendRefs": ANYTHING, "backendSettings": ANYTHING, "cacheDuration": ANYTHING,
                "uri": &Schema::Text(1..=253),
            },
        }),
    },
};

/// Of its fields, those that shape headers.
const CLIENT_TRAFFIC_POLICY: &Schema = object! { required ["targetRefs"]
    "targetRefs": GATEWAYS,
    "headers": object! {
        "earlyRequestHeaders": object! { "add": ANYTHING, "remove": &Schema::List(0..=64, &TEXT), "set": ANYTHING },
    },
};

// The Gateway API.

const REFERENCE_GRANT: &Schema = object! { required ["from", "to"]
    "from": &Schema::List(1..=16, object! { required ["group", "kind", "namespace"]
        "group": &TEXT, "kind": &NAME, "namespace": &Schema::Text(1..=63),
    }),
    "to": &Schema::List(1..=16, object! { required ["group", "kind"] "group": &TEXT, "kind": &NAME, "name": &NAME }),
};
