# Completion of nat64ctl for bash: source <(nat64ctl --completions bash)
_nat64ctl() {
    local word=${COMP_WORDS[COMP_CWORD]} line="" at=1 options=()
    # Options of the program first; the command begins at the first word that is none.
    while ((at < COMP_CWORD)); do
        case ${COMP_WORDS[at]} in
            --socket | --timeout | -c | --command)
                [[ ${COMP_WORDS[at]} == --socket ]] && options=(--socket "${COMP_WORDS[at + 1]}")
                ((at += 2))
                ;;
            -*) ((at += 1)) ;;
            *) break ;;
        esac
    done
    if [[ $word == -* && $at -ge $COMP_CWORD ]]; then
        mapfile -t COMPREPLY < <(compgen -W "--socket --json --command --keep-going --timeout --completions --man --help --version" -- "$word")
        return
    fi
    while ((at < COMP_CWORD)); do
        line+="${COMP_WORDS[at]} "
        ((at += 1))
    done
    mapfile -t COMPREPLY < <(nat64ctl "${options[@]}" --complete "$line$word" 2>/dev/null | cut -f1)
}
# A colon is part of an address, not an end of a word.
COMP_WORDBREAKS=${COMP_WORDBREAKS//:/}
complete -F _nat64ctl nat64ctl
