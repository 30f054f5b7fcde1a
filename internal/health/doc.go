// Package health answers: how do the tokens and requests of a rollout's candidate
// fare beside those of its stable release?
//
// It is pure. A Delta is what one gateway or the authority saw in a short time;
// Cohorts is what all of them saw so far; a Judge turns the subjects that newly
// failed into evidence (package sequential) and says so in a Report.
package health
