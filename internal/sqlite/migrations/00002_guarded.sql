-- The tables are those of format 1. A program of that format would pass over what
-- documents say since: guards that want a second person, freezes, steps and analyses
-- of rollouts, facts that follow what was exchanged. It must refuse them instead.

-- +goose Up
SELECT 1;

-- +goose Down
SELECT 1;
