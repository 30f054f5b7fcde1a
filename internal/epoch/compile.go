package epoch

// Compile validates an epoch's parts as a whole and builds its table. bodies hold
// every part of the manifest by hash. The error joins everything that is wrong,
// each with the part and the path of the field; nothing is half compiled.
func Compile(m Manifest, bodies map[Hash][]byte) (*Table, error) { return nil, nil }
