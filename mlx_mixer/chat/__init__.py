"""Questions and answers: turns -> exactly what is sent -> a stream of text.

load_writer        a model folder -> something that writes: our mixers, or any model that mlx-lm runs (`writers`)
prepare            turns and passages -> a prompt within the model's context (`prompt`)
answer             a prompt -> chunks of text (`answers`)
"""
