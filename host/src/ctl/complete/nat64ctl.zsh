#compdef nat64ctl
# Completion of nat64ctl for zsh: source <(nat64ctl --completions zsh)
_nat64ctl() {
    local -a found options
    local at=2 line="" entry
    while ((at < CURRENT)); do
        case $words[at] in
            --socket) options=(--socket $words[at+1]); ((at += 2)) ;;
            --timeout | -c | --command) ((at += 2)) ;;
            -*) ((at += 1)) ;;
            *) break ;;
        esac
    done
    if [[ $words[CURRENT] == -* && $at -ge $CURRENT ]]; then
        compadd -- --socket --json --command --keep-going --timeout --completions --man --help --version
        return
    fi
    while ((at < CURRENT)); do
        line+="$words[at] "
        ((at += 1))
    done
    for entry in ${(f)"$(nat64ctl $options --complete "$line$words[CURRENT]" 2>/dev/null)"}; do
        # A colon separates word and help for _describe.
        found+=("${${entry%%$'\t'*}//:/\\:}:${entry#*$'\t'}")
    done
    _describe 'command' found
}
compdef _nat64ctl nat64ctl
