// Package health answers: how do the tokens and requests of a rollout's candidate
// fare beside those of its stable release?
//
// It is pure. A Delta is what one gateway or the authority saw in a short time;
// Cohorts is what all of them saw so far; a Judge turns the subjects that newly
// failed into evidence (package sequential) and says so in a Report.
//
// # Who counts
//
// A subject is 64 bits: HMAC-SHA-256 under the rollout's salt, first 8 bytes, of
// which the remainder by 10,000 is its cohort. It is in the candidate's arm while
// its cohort is below the weight, and so are its events, whichever release served.
// Of each metric only its first bad event counts, once for all gateways.
//
// # The share at risk
//
// A batch of new failures is weighed against the share of the candidate among the
// subjects seen that have not failed yet, those first seen together with the
// failures included. Under the null hypothesis who comes does not depend on the arm,
// and who fails of those at risk is a draw without replacement, of which the
// likelihood ratio is convex in the candidate's failures: its mean is at most that
// of the draws with replacement that sequential assumes (Hoeffding 1963, theorem 4).
// The share is of the weight that the source names, and counts by cohort give it
// for any weight, so that late news of an earlier weight are weighed by it.
//
// # Structure, error, cost
//
// Cohorts is an open-addressed table: 8 bytes of key and 4 of failed metrics a
// place, at most 7/8 full, doubling: 14 to 28 bytes a subject, and 40 KiB for each
// metric by which anybody failed. There is no error up to the limit. Beyond it
// subjects are thinned out by a hash of the key (adaptive sampling: Wegman; Flajolet,
// On adaptive sampling, Computing 43, 1990): what is followed is a uniform sample of
// the subjects, independent of arm and fate, so that the test on it holds its level,
// while evidence grows 2^level times slower. An estimate of the number of subjects
// from n followed has a standard error of about 1.2/sqrt(n), 0.13 % at the default.
package health
