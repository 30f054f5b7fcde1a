// Package sequential answers "is the candidate worse than the baseline, is it shown
// to be safe, or must we wait?" at every look, with bounded chances of being wrong.
//
// It is pure: no clock, no I/O, no randomness. Whoever counts calls Observe with
// what happened since the last call, at any intervals, and reads Outcome as
// often as it likes: looking costs nothing in certainty.
//
// # What is counted
//
// Subjects are split at random, by a keyed hash, into canary and baseline, and stay
// in their arm. Per metric only a subject's first bad event counts. A batch i has
// xᵢ such events in the canary and yᵢ in the baseline, among the subjects at
// risk: exposed, and without an earlier event of this metric. pᵢ is the canary's
// share of those, told by the exposures alone and never by the batch's events.
//
// When a subject in the canary fails at r times the rate that it would fail at in
// the baseline, the next event is the canary's with the probability
//
//	θᵢ(r) = pᵢ·r / (pᵢ·r + 1 − pᵢ)
//
// whatever the rate itself is and however it moves: what moves both arms cancels out.
// This is the conditional view of two Poisson or Bernoulli processes with a common,
// unknown, changing intensity (Lindon and Malek, "Anytime-valid inference for
// multinomial count data", arXiv 2011.03567; in use for canaries in Lindon, Sanden
// and Shirikian, "Rapid regression detection in software deployments through
// sequential testing", KDD 2022, arXiv 2205.14762).
//
// # Fail
//
// The evidence against "the ratio is r₀ at most" is what a gambler owns who began with
// 1 and spread it with weights wₖ over bets on greater ratios rₖ:
//
//	E = Σₖ wₖ Πᵢ [θᵢ(rₖ)/θᵢ(r₀)]^xᵢ · [(1−θᵢ(rₖ))/(1−θᵢ(r₀))]^yᵢ
//
// If the ratio is r₀ each factor has the mean 1, so E is a nonnegative martingale, and
// by Ville's inequality (1939) it ever reaches 1/α with a probability of α at most: ever,
// not at one look. The verdict is Fail from then on. Each bet has
// rₖ > r₀, so a factor's mean, θ(r)·a + (1−θ(r))·b with a > 1 > b, falls with r:
// below r₀, even when the ratio changes from event to event, E shrinks on average and
// the bound holds. It needs some (ln 1/α + ln 1/wₖ)/KL(θ(r) ‖ θ(r₀)) events to reach
// 1/α when the ratio is near rₖ.
//
// A batch may hold several events. They are drawn without replacement from those at
// risk, not with it; as the factor is convex in xᵢ, its mean is then even less than 1
// (Hoeffding 1963, theorem 4).
//
// Reserve keeps a part of the money out of the bets; Renew and every doubling of the
// number of events places a quarter of what is left. Money may be moved between bets at
// any time, as long as the move is made before the event is seen: E stays a martingale. It is a
// mixture over the times at which a regression may begin, and costs
// ln 1/(1−Reserve) at the start.
//
// # Several metrics
//
// Evidence on all metrics is the weighted mean of theirs, E = Σₘ vₘ·Eₘ with weights
// that sum to 1. A mean of e-values is one, however they depend on each other (Vovk
// and Wang, "E-values: calibration, combination and applications", Annals of
// Statistics 2021). For a verdict at any time more is needed, because the arm of a
// subject that failed one metric is known when it fails the next: each Eₘ is a
// martingale given its own past, not given everybody's, and such processes can't be
// averaged in general (Choe and Ramdas, "Combining evidence across filtrations",
// arXiv 2402.09698). Ours can. Let uₛ be the independent uniform places of the subjects; s is in the
// canary when uₛ is below the weight. If arms make no difference, which subject fails
// what when is fixed, and every Eₘ(t) is a product of factors that fall with one uₛ
// each, whose means are 1. H(t), that the mean has reached 1/α by t, then falls
// with each uₛ too: it can only cease to hold when one grows. Summing by parts over the
// time τ at which the mean reaches 1/α, until the end T,
//
//	E[Eₘ(τ); H(T)] = E[Eₘ(T); H(T)] − Σₜ E[(Eₘ(t+1) − Eₘ(t)); H(t)]
//
// and no term of the sum is negative: the new factor less 1 and H(t) both fall with the same
// uₛ, so under the measure weighted by Eₘ(t) they are positively correlated (Harris 1960). Hence
// E[Eₘ(τ); H(T)] ≤ 1 for each m, their mean is 1 at most, and P(H(T)) ≤ α.
//
// A metric's share, vₘ·Eₘ/E, says which metric it was.
//
// # Pass
//
// A second such process has as its null that the ratio is r_max or more, and bets on
// smaller ones; by the same argument, mirrored, it reaches 1/β with a probability of
// β at most for any ratio, or sequence of ratios, from r_max on. A pass claims that
// every needed metric is below its r_max, so it waits until each of them has reached
// 1/β: if one of them is bad, that one's process must have been wrong. There is no
// price for their number (Berger 1982). No traffic, no events: no pass. Expire turns
// the waiting into Inconclusive.
//
// Fail and Pass are both kept once reached, by the greatest E so far; a Fail overrides
// a Pass.
//
// # Rate ratio
//
// The interval holds every r that has not lost this bet at the level α′ = 1 − Confidence:
//
//	½·[Σⱼ wⱼ·L(ρⱼ) + Πᵢ Lᵢ(r̂ᵢ₋₁)] / L(r) < 1/α′
//
// with L the likelihood of all events and r̂ᵢ₋₁ an estimate from the batches before i. For
// each fixed r the left side is a martingale if r is the truth, so the true one is
// lost at any time at all with a probability of α′ at most: a confidence sequence (Darling and
// Robbins 1967; Howard, Ramdas, McAuliffe and Sekhon, Annals of Statistics 2021,
// arXiv 1810.08240; the running estimate is Wasserman, Ramdas and Balakrishnan's
// universal inference, PNAS 2020). ln L is concave in ln r, so the set is an interval, found by
// bisection. L needs each batch's pᵢ; beyond 32 different ones neighbours are
// summed up and ln L is bounded from above by a chord, which can only widen the interval.
// It assumes one ratio for the whole time. When it changed so much that no ratio is left,
// the interval is the estimate alone.
//
// # What is exact, what is shown by simulation
//
// Exact, for r₀ = 1 and arms that make no difference to anybody: at every look, under any drift of
// the rate, any mixture of subjects, any step of the weight, any dependence between
// metrics. Where shares at risk are counted rather than known by design, the mean's argument
// is exact as long as those who failed are few among the exposed.
//
// By simulation: r₀ > 1 and Pass, when subjects differ. A ratio that is the same for every
// subject becomes smaller in the counts as time goes on, because those who fail easily
// are used up sooner in the worse arm. That errs to the side of alarms not raised, and of
// passes; at failure rates of a few percent it doesn't show.
//
// What breaks it:
//
//   - counting a subject's retries: they are no independent events;
//   - an exposure that depends on the outcome: counting a subject as exposed only once it
//     failed, or as the new arm's only once it comes back after a step of the weight;
//   - arms that aren't random: employees first, one region, one gateway;
//   - an event booked to the arm that served it instead of the subject's own;
//   - batches that are lost or delivered twice more often in one arm than the other;
//   - changing the configuration, or a latency threshold, after a look at the numbers.
//
// # Cost
//
// A batch costs some 30 multiplications and as many logarithms when its share is a
// new one, and no allocation. A metric takes 2 KB of state.
package sequential
