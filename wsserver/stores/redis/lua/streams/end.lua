-- ARGV: 1 ending, 2 who ends it (to know him again), 3 retention in ms, 4 publish.
-- Where the text ends. Whoever may still think that he writes it is refused from now on.
local state = field('state')
if not state then
    return 0
end
if state ~= 'ended' then
    raise_fence(ARGV[2], 'running')
    end_here(ARGV[1], ARGV[3])
end
return field('writer') == ARGV[2] and 1 or 0
