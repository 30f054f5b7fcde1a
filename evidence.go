package mintmark

// Evidence is why Mintmark decided by itself about a release: which metric said
// so, how sure it was, and how that came about. It goes into signed receipts, so
// that it holds whole numbers only. Members are added, never renamed.
type Evidence struct {
	// Metric is the name of the metric that decided; empty when no metric did (a
	// deadline, say): Reasons has why.
	Metric string `json:"metric,omitempty"`
	// Outcome is what was concluded: fail, pass, inconclusive.
	Outcome string `json:"outcome"`
	// At is when it was concluded and Since from when it was watched, both in Unix
	// milliseconds of control's clock.
	At    int64 `json:"at,omitempty"`
	Since int64 `json:"since,omitempty"`
	// LogE is log10 of the e-value against the candidate in thousandths: 2000 is
	// E = 100. Limit is the value at which it fails, log10(1/α); LogSafe is log10 of
	// the e-value for it being safe.
	LogE    int64 `json:"log_e_milli,omitempty"`
	Limit   int64 `json:"limit_milli,omitempty"`
	LogSafe int64 `json:"log_e_safe_milli,omitempty"`
	// Alpha and Beta are the error bounds, in millionths.
	Alpha int64 `json:"alpha_ppm,omitempty"`
	Beta  int64 `json:"beta_ppm,omitempty"`
	// Ratio is the candidate's rate of bad events over the stable release's, with
	// the bounds of its confidence sequence, in thousandths; RatioHi -1 is unbounded.
	// All 0: nothing happened yet.
	Ratio   int64 `json:"ratio_milli,omitempty"`
	RatioLo int64 `json:"ratio_lo_milli,omitempty"`
	RatioHi int64 `json:"ratio_hi_milli,omitempty"`
	// Candidate and Stable count subjects of each arm: exposed, and with a bad event.
	Candidate EvidenceArm `json:"candidate,omitzero"`
	Stable    EvidenceArm `json:"stable,omitzero"`
	// Reasons are for people, most important first.
	Reasons []string `json:"reasons,omitempty"`
	// Series is LogE over time, oldest first; thinned to at most 240 points.
	Series []EvidencePoint `json:"series,omitempty"`
}

// EvidenceArm counts one release's subjects.
type EvidenceArm struct {
	Exposed uint64 `json:"exposed,omitempty"`
	Bad     uint64 `json:"bad,omitempty"`
}

// EvidencePoint is the state of the evidence at one moment.
type EvidencePoint struct {
	At     int64 `json:"at"` // Unix milliseconds
	LogE   int64 `json:"log_e_milli"`
	Weight int   `json:"weight"` // the candidate's share then, in basis points
}
