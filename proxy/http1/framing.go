package http1

// maxLength is the largest body length or chunk size that is read as a number.
const maxLength = 1 << 62

// length reads Content-Length and Transfer-Encoding, at least one of which is there. It returns
// the length of the body, -1 for chunked.
func (h *head) length(fields []Field, minor uint8) (int64, *Error) {
	const both = 1<<ContentLength | 1<<TransferEncoding
	if h.again&both != 0 {
		return 0, ErrFraming
	}
	if h.has(1 << TransferEncoding) {
		if e := coding(fields[h.at[TransferEncoding]].Value); e != nil {
			return 0, e
		}
		if minor == 0 || h.seen&both == both {
			return 0, ErrFraming
		}
		return -1, nil
	}
	n, ok := number(fields[h.at[ContentLength]].Value)
	if !ok {
		return 0, ErrFraming
	}
	return n, nil
}

// number reads 1*DIGIT up to maxLength.
func number(b []byte) (n int64, ok bool) {
	for _, c := range b {
		if class[c]&digit == 0 || n > maxLength/10 {
			return 0, false
		}
		n = n*10 + int64(c-'0')
	}
	return n, len(b) > 0 && n <= maxLength
}

// coding accepts chunked alone. A list that would be legal if we knew its codings is told apart
// from one that is wrong in itself.
func coding(list []byte) *Error {
	if equalFold(list, "chunked") {
		return nil
	}
	more := true
	for more {
		var name []byte
		name, list = item(list)
		more = list != nil
		if !ValidName(name) || equalFold(name, "chunked") && more {
			return ErrFraming
		}
	}
	return ErrCoding
}
