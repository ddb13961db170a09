"""One config class per kind of model beside the language mixer, and the one function that knows them all."""
