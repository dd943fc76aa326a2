# coverage.awk -v goal=PERCENT - reads `gcovr --csv` (file, lines, lines covered, ...): a table, and the files under the goal.
FNR == 1 { next }
{
    lines += $2
    covered += $3
    percent = $2 ? 100 * $3 / $2 : 100
    printf "%5.1f %%  %5d of %5d  %s\n", percent, $3, $2, $1
    if (percent < goal)
        under[++n] = sprintf("%5.1f %%  %s", percent, $1)
}
END {
    if (!lines) {
        print "no line was counted" > "/dev/stderr"
        exit 1
    }
    printf "%5.1f %%  %5d of %5d  total\n", 100 * covered / lines, covered, lines
    printf "\nunder %d %%: %d files\n", goal, n
    for (i = 1; i <= n; i++)
        print "  " under[i]
}
