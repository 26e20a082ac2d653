# Completion of nat64ctl for fish: nat64ctl --completions fish | source
function __nat64ctl_complete
    set -l words (commandline -opc)
    set -l word (commandline -ct)
    set -l options
    set -e words[1]
    while test (count $words) -gt 0
        switch $words[1]
            case --socket
                set options --socket $words[2]
                set -e words[1..2]
            case --timeout -c --command
                set -e words[1..2]
            case '-*'
                set -e words[1]
            case '*'
                break
        end
    end
    nat64ctl $options --complete (string join ' ' -- $words $word) 2>/dev/null
end
complete -c nat64ctl -f -a '(__nat64ctl_complete)'
complete -c nat64ctl -l socket -r -d 'Socket of the daemon'
complete -c nat64ctl -l json -d 'Answer in JSON, errors too'
complete -c nat64ctl -s c -l command -x -d 'Commands'
complete -c nat64ctl -l keep-going -d 'Go on when a command fails'
complete -c nat64ctl -l timeout -x -d 'Seconds to wait for an answer'
complete -c nat64ctl -l completions -x -a 'bash zsh fish' -d 'Print the completion script for a shell'
complete -c nat64ctl -l man -d 'Print the manual page'
