// Package sequential answers "is the candidate worse than the baseline, is it shown
// to be safe, or must we wait?" at every look, with bounded chances of being wrong.
package sequential
