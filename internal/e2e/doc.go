// Package e2e answers whether the product keeps its promises when its parts die,
// are cut off from each other, race or are lied to. Its tests run the real binary
// as separate processes on loopback and judge only by what clients and operators
// can see: answers of gateways, receipts, exit codes, and mintmark verify.
//
// Tests are named after the failure they rule out (RB01 to RB14) or the guarantee
// they try to break (G1 to G7). They take seeded samples; with MINTMARK_TEST_SOAK=1
// they run in full.
package e2e
