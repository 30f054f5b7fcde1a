package receipt

import "fmt"

// Sentences say for people what was proved and what was not.
func (r *Report) Sentences() []string {
	s := []string{fmt.Sprintf("%d receipts and %d state-log rows verified, %d problems", r.Receipts, r.Rows, r.Failed)}
	switch {
	case r.Rows > 1 && r.Gaps == 0:
		s = append(s, fmt.Sprintf("rows %d to %d are one unbroken chain", r.FirstRow, r.LastRow))
	case r.Gaps > 0:
		s = append(s, fmt.Sprintf("rows between %d and %d are left out at %d places: the chain is proved between those only", r.FirstRow, r.LastRow, r.Gaps))
	}
	if r.Alone > 0 {
		s = append(s, fmt.Sprintf("%d receipts came without their row: their signatures hold, the row was not compared", r.Alone))
	}
	return s
}
