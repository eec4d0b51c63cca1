//! Costs are exact, and rounded up.

use super::{cost, priced};
use filter_config::{Price, Usd};
use proptest::prelude::*;
use usage_meter::Usage;

fn price(dollars: [&str; 5]) -> Price {
    let [input, cached_input, cache_write, output, reasoning] =
        dollars.map(|dollars| dollars.parse::<Usd>().unwrap());
    Price {
        input,
        cached_input,
        cache_write,
        output,
        reasoning,
    }
}

#[test]
fn each_kind_of_tokens_has_its_price() {
    let price = price(["2.50", "1.25", "3", "10", "20"]);
    let usage = Usage {
        input_tokens: 1000,
        output_tokens: 100,
        total_tokens: 1100,
        cached_tokens: 400,
        cache_creation_tokens: 100,
        reasoning_tokens: 60,
    };
    // 500 of 2500, 400 of 1250, 100 of 3000, 40 of 10000 and 60 of 20000 billionths.
    assert_eq!(
        cost(&price, &usage),
        Usd(1_250_000 + 500_000 + 300_000 + 400_000 + 1_200_000)
    );
}

#[test]
fn remaining_total_costs_the_higher_price() {
    let price = price(["1", "1", "1", "4", "4"]);
    let usage = Usage {
        total_tokens: 10,
        ..Usage::default()
    };
    assert_eq!(cost(&price, &usage), Usd(40_000));
}

#[test]
fn cost_is_rounded_up_to_billionth() {
    let price = price(["0.0375", "0", "0", "0", "0"]);
    let usage = |input_tokens| Usage {
        input_tokens,
        total_tokens: input_tokens,
        ..Usage::default()
    };
    assert_eq!(cost(&price, &usage(1)), Usd(38), "37.5");
    assert_eq!(cost(&price, &usage(2)), Usd(75));
}

fn usages() -> impl Strategy<Value = Usage> {
    let tokens = || prop_oneof![0..2_000_u64, 0..10_000_000_u64];
    (tokens(), tokens(), tokens(), tokens(), tokens(), tokens()).prop_map(
        |(input, output, cached, written, reasoning, more)| Usage {
            input_tokens: input,
            output_tokens: output,
            total_tokens: input + output + more,
            cached_tokens: cached,
            cache_creation_tokens: written,
            reasoning_tokens: reasoning,
        },
    )
}

fn prices() -> impl Strategy<Value = Price> {
    let usd = || (0..1_000_000_000_000_u64).prop_map(Usd);
    (usd(), usd(), usd(), usd(), usd()).prop_map(
        |(input, cached_input, cache_write, output, reasoning)| Price {
            input,
            cached_input,
            cache_write,
            output,
            reasoning,
        },
    )
}

/// Returns the exact cost, in millionths of billionths.
fn exact(price: &Price, usage: &Usage) -> u128 {
    let cached = usage.cached_tokens.min(usage.input_tokens);
    let written = usage.cache_creation_tokens.min(usage.input_tokens - cached);
    let reasoning = usage.reasoning_tokens.min(usage.output_tokens);
    [
        (usage.input_tokens - cached - written, price.input),
        (cached, price.cached_input),
        (written, price.cache_write),
        (usage.output_tokens - reasoning, price.output),
        (reasoning, price.reasoning),
        (
            usage.total_tokens - usage.input_tokens - usage.output_tokens,
            price.input.max(price.output),
        ),
    ]
    .into_iter()
    .map(|(tokens, price)| u128::from(tokens) * u128::from(price.0))
    .sum()
}

proptest! {
    #[test]
    fn rounding_differs_by_at_most_one_unit(
        price in prices(), usage in usages(),
    ) {
        let charged = u128::from(cost(&price, &usage).0) * 1_000_000;
        let exact = exact(&price, &usage);
        prop_assert!(charged >= exact);
        prop_assert!(charged - exact < 1_000_000);
    }

    #[test]
    fn sum_equals_sum_of_costs(
        price in prices(), usages in prop::collection::vec(usages(), 1..50),
    ) {
        let charged: u128 = usages.iter().map(|usage| u128::from(cost(&price, usage).0)).sum();
        let exact: u128 = usages.iter().map(|usage| exact(&price, usage)).sum();
        let drift = charged * 1_000_000 - exact;
        prop_assert!(drift < 1_000_000 * usages.len() as u128, "a unit for each exchange at most");
    }

    #[test]
    fn more_usage_costs_no_less(price in prices(), usage in usages(), more in 0..1000_u64) {
        let larger = Usage {
            input_tokens: usage.input_tokens + more,
            total_tokens: usage.total_tokens + more,
            ..usage
        };
        let cheapest_input = Price { cached_input: price.input, cache_write: price.input, ..price };
        prop_assert!(cost(&cheapest_input, &larger) >= cost(&cheapest_input, &usage));
    }

    #[test]
    fn any_usage_has_a_cost(tokens in any::<[u64; 6]>(), price in prices()) {
        let [input_tokens, output_tokens, total_tokens, cached_tokens, cache_creation_tokens, reasoning_tokens] =
            tokens;
        let _ = cost(&price, &Usage {
            input_tokens, output_tokens, total_tokens, cached_tokens, cache_creation_tokens, reasoning_tokens,
        });
    }
}

#[test]
fn unpriced_model_follows_configuration() {
    let usage = Usage {
        input_tokens: 1_000_000,
        total_tokens: 1_000_000,
        ..Usage::default()
    };
    let cases = [
        (
            r#""a": {"input": 1, "output": 1}, "b": {"input": 3, "output": 1}"#,
            "",
            3,
        ),
        (
            r#""a": {"input": 1, "output": 1}"#,
            r#", "unpriced": "free""#,
            0,
        ),
        (
            r#""a": {"input": 1, "output": 1}, "default": {"input": 2, "output": 1}"#,
            "",
            2,
        ),
    ];
    for (prices, rest, dollars) in cases {
        let configuration = format!(
            r#"{{ "policies": [{{
                "apiVersion": "kuadrant.io/v1alpha1", "kind": "TokenRateLimitPolicy",
                "metadata": {{ "name": "p" }},
                "spec": {{
                  "targetRef": {{ "group": "gateway.networking.k8s.io", "kind": "Gateway", "name": "g" }},
                  "limits": {{ "l": {{ "budgets": [{{ "usd": 1, "window": "1h" }}] }} }}
                }} }}],
              "pricing": {{ {prices} }} {rest} }}"#
        );
        let configuration = filter_config::parse(configuration.as_bytes()).unwrap();
        let pricing = configuration.pricing.unwrap();
        let unknown = priced(&pricing, ["x", "y"], &usage);
        assert_eq!(unknown.usd, Usd(dollars * 1_000_000_000), "{prices}");
        assert!(!unknown.is_known);
        let known = priced(&pricing, ["x", "a"], &usage);
        assert_eq!(known.usd, Usd(1_000_000_000));
        assert!(known.is_known);
    }
}

#[test]
fn higher_price_of_both_models_is_charged() {
    let configuration = filter_config::parse(
        br#"{ "policies": [{
            "apiVersion": "kuadrant.io/v1alpha1", "kind": "TokenRateLimitPolicy",
            "metadata": { "name": "p" },
            "spec": {
              "targetRef": { "group": "gateway.networking.k8s.io", "kind": "Gateway", "name": "g" },
              "limits": { "l": { "budgets": [{ "usd": 1, "window": "1h" }] } }
            } }],
          "pricing": { "mini*": { "input": 1, "output": 1 }, "gpt-4o": { "input": 3, "output": 1 } } }"#,
    )
    .unwrap();
    let pricing = configuration.pricing.unwrap();
    let usage = Usage {
        input_tokens: 1_000_000,
        total_tokens: 1_000_000,
        ..Usage::default()
    };
    for models in [["mini", "gpt-4o"], ["gpt-4o", "mini-nope"]] {
        assert_eq!(priced(&pricing, models, &usage).usd, Usd(3_000_000_000));
    }
}
