# Prints "FILE:LINE:code" of C files with comments, string and character literals blanked out; #include lines stay.
FNR == 1 { comment = 0 }
{
    line = $0
    out = ""
    if (!comment && line ~ /^[ \t]*#[ \t]*include/) {
        print FILENAME ":" FNR ":" line
        next
    }
    while (line != "") {
        if (comment) {
            i = index(line, "*/")
            if (!i) {
                line = ""
            } else {
                line = substr(line, i + 2)
                comment = 0
            }
            continue
        }
        if (!match(line, /\/\*|\/\/|"|'/)) {
            out = out line
            break
        }
        out = out substr(line, 1, RSTART - 1)
        mark = substr(line, RSTART, RLENGTH)
        line = substr(line, RSTART + RLENGTH)
        if (mark == "/*") {
            comment = 1
        } else if (mark == "//") {
            break
        } else {
            # a literal: up to its closing mark, escapes skipped
            while (line != "") {
                c = substr(line, 1, 1)
                line = substr(line, (c == "\\") ? 3 : 2)
                if (c == mark)
                    break
            }
            out = out "\"\""
        }
    }
    print FILENAME ":" FNR ":" out
}
