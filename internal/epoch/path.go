package epoch

// PathOK reports whether a request's path, as sent and without the query, has one
// reading only.
func PathOK(path string) bool { return false }
