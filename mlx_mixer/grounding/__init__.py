"""Answers that rest on the user's own files: which passages a model is shown, and which of its quotations are true.

    question -> library -> candidates (`gather`) -> what fits the budget (`pack`) -> what is sent (`passage_text`)
    answer   -> quotations (`quotes`) -> where each stands in the stored documents (`verify`)

Nothing here runs a model: a tokenizer comes in as a function that counts.
"""
